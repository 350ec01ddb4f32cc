"""Who may see what: a protocol gets a manifest in which nothing is known of the test images."""

from dataclasses import replace

import numpy as np
import pandas as pd

from cxrbench.data.attributes import PREFIX
from cxrbench.data.manifest import SAID_UNCERTAIN, Manifest


def without_test_truth(manifest: Manifest) -> Manifest:
    """The manifest without any truth of its test images, so that no protocol can see it, even by mistake.

    Labels and quantities become NaN, what is known of the patients and of uncertain labels is forgotten; boxes and
    masks of test images, and reports and signals of test studies, are gone.
    """
    images = manifest.images.copy()
    test = images["split"] == "test"
    images.loc[test, [*manifest.labels, *manifest.quantity_columns]] = np.nan
    images.loc[test, [name for name in images.columns if str(name).startswith(PREFIX)]] = ""
    images = images.drop(columns=[name for name in images.columns if str(name).startswith(SAID_UNCERTAIN)])
    hidden, studies = set(images["image_id"][test]), set(images["study_id"][test])
    return replace(
        manifest,
        images=images,
        boxes=_lacking(manifest.boxes, "image_id", hidden),
        masks=_lacking(manifest.masks, "image_id", hidden),
        reports=_lacking(manifest.reports, "study_id", studies),
        signals=_lacking(manifest.signals, "study_id", studies),
    )


def _lacking(table: pd.DataFrame | None, column: str, hidden: set[str]) -> pd.DataFrame | None:
    """The rows of a table that are not about the hidden ones."""
    return None if table is None else table.loc[~table[column].isin(list(hidden))].reset_index(drop=True)
