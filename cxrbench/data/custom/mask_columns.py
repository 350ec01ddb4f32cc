"""The masks in a user's CSV: a column of mask files, or a column for each of several labels that may overlap."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cxrbench.data.annotations.masks import check_sizes
from cxrbench.data.custom.columns import prefixed
from cxrbench.data.custom.files import find_files, normal_path
from cxrbench.data.custom.labels import SEPARATOR
from cxrbench.data.custom.sidecar import Sidecar
from cxrbench.data.tables import Table
from cxrbench.errors import UserError


def find_masks(
    path: Path, table: Table, columns: Mapping[str, str], ids: Sequence[str], sidecar: Sidecar
) -> pd.DataFrame | None:
    """``Manifest.masks`` of the images that have a mask file, whose size must be the image's; None without a column.

    ``mask``: one file per image, of one label or (``mask_classes``) several. ``mask:LABEL``: a file for each label, or
    several joined by ``|``, which are united; masks of different labels may overlap. Raises UserError for both at once.
    """
    several = prefixed(table, "mask")
    if "mask" not in columns and not several:
        return None
    if "mask" in columns and several:
        raise UserError(
            f"{path} has the columns {columns['mask']} and {next(iter(several.values()))}: give one mask per image, or "
            "a column mask:LABEL for each label"
        )
    if several and (sidecar.mask_classes or sidecar.mask_label != Sidecar.mask_label):
        raise UserError(
            f"{path.with_suffix('.toml')}: mask_label and mask_classes are of a column 'mask'; {path.name} has columns "
            f"{', '.join(several.values())}, which say it themselves"
        )
    ignore = np.nan if sidecar.mask_ignore is None else float(sidecar.mask_ignore)
    rows = []
    for name, column in (several or {"": columns["mask"]}).items():
        classes = {name: np.nan} if name else sidecar.mask_classes or {sidecar.mask_label: np.nan}
        for image, cell in zip(ids, table[column], strict=True):
            files = [normal_path(part.strip()) for part in cell.split(SEPARATOR)] if name else [normal_path(cell)]
            rows += [(image, label, f, value, ignore) for f in files if f for label, value in classes.items()]
    masks = pd.DataFrame(rows, columns=["image_id", "label", "path", "value", "ignore"])
    masks = masks.astype({"value": float, "ignore": float})
    find_files(path, list(dict.fromkeys(masks["path"])))
    check_sizes(masks, {name: path.parent / name for name in ids}, path.parent)
    return masks
