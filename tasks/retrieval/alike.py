"""For each image all others, from most to least similar: which of them are like it?"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrbench.tasks.retrieval.ranking import similarities

CUTOFFS = (1, 5, 10)


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
