"""Image to image retrieval: do the neighbours of an image show what the image shows?"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.manifest import Manifest
from cxrbench.predictions import Predictions
from cxrbench.task import Cell, FrozenEncoder, TaskOptions
from cxrbench.tasks.retrieval.ranking import retrieved, similarities, trains_on_nothing

LABEL = "image"
CUTOFFS = (1, 5, 10)


@dataclass(frozen=True)
class ImageRetrieval:
    """The ``retrieval`` protocol: every test image asks for its like among the test images of other patients.

    Two images are alike if they share a finding, or if both show none at all: "normal" is treated as one more class,
    for a reader who looks for normal images wants normal images. An image of which nothing positive is known, but not
    everything is known, is neither query nor in the gallery. Similarity is the cosine of the pooled features; among
    equally similar images the unlike come first.
    """

    protocol: str = "retrieval"
    version: str = "1"
    summary: str = "image to image, by shared findings: mAP@R, precision@1/5/10"
    opt_in: bool = False
    sees_test_truth: bool = True

    def configured(self, options: TaskOptions) -> "ImageRetrieval":
        """It has no options."""
        del options
        return self

    def not_applicable(self, manifest: Manifest) -> str | None:
        """It needs labels, and test images of two patients."""
        if not manifest.labels:
            return "it has no labels"
        test = manifest.images.iloc[manifest.rows_of("test")]
        return "its test split has fewer than two patients" if test["patient_id"].nunique() < 2 else None

    def seeds_matter(self, fraction: float) -> bool:
        """Nothing is trained."""
        del fraction
        return False

    def run(self, encoder: FrozenEncoder, manifest: Manifest, cell: Cell) -> Predictions:
        """Rank the gallery for every test image."""
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
        counted = relevant > 0
        columns = {f"target:{LABEL}": relevant.astype(np.float64), f"rank:{LABEL}": rank}
        columns |= {f"value:map@r:{LABEL}": np.where(counted, map_at_r, np.nan)}
        columns |= {f"value:p@{k}:{LABEL}": np.where(counted, precision[i], np.nan) for i, k in enumerate(CUTOFFS)}
        return retrieved(
            manifest.images.iloc[test], columns, (LABEL,), encoder, manifest, cell, _notes(classes, share[counted])
        )


TASK = ImageRetrieval()


def with_normal(targets: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Targets [n, L] of 1, 0, NaN as classes [n, L + 1] of which an image may have several; the last one is "none"."""
    return np.concatenate([targets == 1, (targets == 0).all(1, keepdims=True)], axis=1)


class Ranked(NamedTuple):
    """A chunk of queries [q]: rank of the first relevant item (NaN without one), number of relevant items.

    ``share`` of the gallery that is relevant, mAP@R, and precision at each of CUTOFFS [3, q].
    """

    rank: NDArray[np.float64]
    relevant: NDArray[np.int64]
    share: NDArray[np.float64]
    map_at_r: NDArray[np.float64]
    precision: NDArray[np.float64]


def ranked(
    features: NDArray[np.floating],
    classes: NDArray[np.bool_],
    patients: NDArray[np.integer],
    usable: NDArray[np.bool_],
) -> Iterator[Ranked]:
    """Rank all others for each image, chunk by chunk.

    features: [n, D]; classes: [n, K]; patients: [n], whose other images are left out of the gallery; usable: [n],
    which images may be in it. mAP@R is eq. 5 of Musgrave et al. (2020), "A metric learning reality check": with R the
    number of relevant items, the mean over the first R places of the precision there, 0 where the item is not
    relevant. P@k divides by k, also where the gallery is smaller.
    """
    has = classes.astype(np.float32)
    for rows, similarity in similarities(features, features):
        gallery = usable & (patients[rows, None] != patients)
        relevant = (has[rows] @ has.T > 0) & gallery
        count = relevant.sum(1)
        order = _in_order(similarity.numpy(), relevant, gallery)
        hits = order[:, : max(int(count.max()), *CUTOFFS)]  # further places enter no metric but the rank
        places = np.arange(1, hits.shape[1] + 1)
        precision = hits.cumsum(1) / places
        within = hits & (places <= count[:, None])
        yield Ranked(
            rank=np.where(count > 0, order.argmax(1) + 1.0, np.nan),
            relevant=count,
            share=count / np.maximum(gallery.sum(1), 1),
            map_at_r=np.where(within, precision, 0).sum(1) / np.maximum(count, 1),
            precision=np.stack([hits[:, :k].sum(1) / k for k in CUTOFFS]),
        )


def _in_order(
    similarity: NDArray[np.float32], relevant: NDArray[np.bool_], gallery: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Whether each item is relevant [q, n], items from most to least similar; what is not in the gallery comes last.

    Cosines in steps of 2^-29, far below float32's own rounding of them, leave a bit of an int32 for "irrelevant": then
    sorting numbers is enough (several times faster than sorting positions), and among equals the irrelevant come first.
    """
    steps = np.rint(similarity.clip(-1, 1).astype(np.float64) * 2**29).astype(np.int32)
    keys = np.where(gallery, 2 * steps + ~relevant, np.iinfo(np.int32).min + 1)
    keys.sort(axis=1)
    return keys[:, ::-1] % 2 == 0


def _notes(classes: NDArray[np.bool_], share: NDArray[np.float64]) -> tuple[str, ...]:
    """What a reader needs to judge a precision: how many images are normal, and what a random order would give."""
    if not len(share):
        return ("no test image has its like among other patients' images",)
    normal, left_out = float(classes[:, -1].mean()), int((~classes.any(1)).sum())
    facts = {
        f"a random order would have P@k {share.mean():.2f}": True,
        f"{normal:.0%} of the test images have none of the labels and count as each other's like": normal > 0,
        f"{left_out} test images with unknown findings left out": left_out > 0,
    }
    return tuple(fact for fact, holds in facts.items() if holds)
