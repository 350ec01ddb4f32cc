"""Image to image retrieval: do the neighbours of an image show what the image shows?"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrbench.data.manifest import Manifest
from cxrbench.predictions import Predictions
from cxrbench.task import Asked, Cell, FrozenEncoder, Need, Task
from cxrbench.tasks.retrieval.studies import counted, retrieved, trains_on_nothing

LABEL = "image"


@dataclass(frozen=True, kw_only=True)
class ImageRetrieval(Task):
    """The ``retrieval`` protocol: every test image asks for its like among the test images of other patients.

    Two images are alike if they share a finding, or if both show none at all: "normal" is treated as one more class,
    for a reader who looks for normal images wants normal images. An image of which nothing positive is known, but not
    everything is known, is neither query nor in the gallery. Similarity is the cosine of the pooled features; among
    equally similar images the unlike come first.
    """

    name: str = "retrieval"
    summary: str = "image to image, by shared findings: mAP@R, precision@1/5/10"
    sees_test_truth: bool = True
    needs: tuple[Need, ...] = ("labels",)

    @property
    def asks(self) -> frozenset[Asked] | None:
        """Image embeddings."""
        return frozenset({"pooled"})

    def not_applicable(self, manifest: Manifest) -> str | None:
        """It needs labels, and test images of two patients."""
        test = manifest.images.iloc[manifest.rows_of("test")]
        few = "its test split has fewer than two patients" if test["patient_id"].nunique() < 2 else None
        return super().not_applicable(manifest) or few

    def seeds_matter(self, fraction: float) -> bool:
        """Nothing is trained."""
        del fraction
        return False

    def run(self, encoder: FrozenEncoder, manifest: Manifest, cell: Cell) -> Predictions:
        """Rank the gallery for every test image."""
        from cxrbench.tasks.retrieval.alike import CUTOFFS, ranked

        trains_on_nothing(cell)
        test = manifest.rows_of("test")
        classes = with_normal(manifest.targets()[test])
        usable = np.asarray(classes.any(1))
        patients = np.unique(manifest.images["patient_id"].to_numpy(str)[test], return_inverse=True)[1]
        found = list(ranked(np.asarray(encoder.pooled(manifest)[test]), classes, patients, usable))
        rank, relevant, share, map_at_r = (
            np.concatenate(column) for column in zip(*(r[:4] for r in found), strict=True)
        )
        precision = np.concatenate([r.precision for r in found], axis=1)
        images, answered = manifest.images.iloc[test], relevant > 0
        columns = {f"target:{LABEL}": relevant.astype(np.float64), f"rank:{LABEL}": rank}
        columns |= {f"value:map@r:{LABEL}": np.where(answered, map_at_r, np.nan)}
        columns |= {f"value:p@{k}:{LABEL}": np.where(answered, precision[i], np.nan) for i, k in enumerate(CUTOFFS)}
        notes = _notes(images.loc[answered], classes, share[answered])
        return retrieved(images, columns, (LABEL,), encoder, manifest, cell, notes)


TASK = ImageRetrieval()


def with_normal(targets: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Targets [n, L] of 1, 0, NaN as classes [n, L + 1] of which an image may have several; the last one is "none"."""
    return np.concatenate([targets == 1, (targets == 0).all(1, keepdims=True)], axis=1)


def _notes(scored: pd.DataFrame, classes: NDArray[np.bool_], share: NDArray[np.float64]) -> tuple[str, ...]:
    """What a reader needs to judge a precision: how many images are asked, how many are normal, what chance would give.

    scored: the images that have their like; classes: of all test images; share: of the gallery, for the scored ones.
    """
    if not len(share):
        return ("no test image has its like among other patients' images",)
    normal, left_out = int(classes[:, -1].sum()), int((~classes.any(1)).sum())
    facts = {
        f"{counted(scored, 'test images')} have their like among other patients' images": True,
        f"a random order would have P@k {share.mean():.2f}": True,
        f"{normal:,} of the {len(classes):,} test images have none of the labels and count as each other's like": normal
        > 0,
        f"{left_out:,} test images with unknown findings left out": left_out > 0,
    }
    return tuple(fact for fact, holds in facts.items() if holds)
