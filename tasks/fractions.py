"""Which training images a label fraction keeps."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def label_fraction(
    patients: NDArray[np.str_], targets: NDArray[np.float32], fraction: float, seed: int
) -> NDArray[np.int64]:
    """Sorted row numbers of about ``fraction`` of the rows: whole patients, nested, every label present.

    patients: [n]; targets: [n, L] of 0, 1, NaN. Patients are put in one order that depends on the seed alone: first
    those needed so that each label has a positive and a negative among them, the rest at random. A fraction keeps the
    shortest prefix of that order that holds ``round(fraction * n)`` rows and all of the needed patients, so a
    smaller fraction is always a subset of a larger one. Fraction 1 is every row.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"a label fraction lies in (0, 1], not {fraction}")
    codes, names = pd.factorize(patients, sort=True)
    shuffled = np.random.default_rng(seed).permutation(len(names))
    needed = _covering(codes, targets, shuffled)
    order = np.concatenate([needed, shuffled[~np.isin(shuffled, needed)]])
    sizes = np.bincount(codes, minlength=len(names))[order]
    wanted = max(1, round(fraction * len(patients)))
    length = max(int(np.searchsorted(np.cumsum(sizes), wanted)) + 1, len(needed))
    return np.flatnonzero(np.isin(codes, order[:length]))


def more_than_asked(fraction: float, kept: int, images: int) -> tuple[str, ...]:
    """The note on a fraction of ``images`` that keeps half as many again as were asked for, or more; else none.

    Small fractions of small sets do: two of them may then be the same training images, and give the same figures.
    """
    if kept < 1.5 * fraction * images or kept <= 1:
        return ()
    return (
        f"label fraction {fraction:g}: {kept:,} of {images:,} training images ({kept / images:.0%}), for every label "
        "needs a positive and a negative, and a patient's images stay together",
    )


def _covering(codes: NDArray[np.int64], targets: NDArray[np.float32], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Patients, in the given order, that together hold a positive and a negative of every label that has both."""
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    wants = np.concatenate([targets == 1, targets == 0], axis=1)  # [n, 2L]
    chosen: list[int] = []
    covered = np.zeros(wants.shape[1], bool)
    for column in np.argsort(wants.sum(0), kind="stable"):  # the rarest first: its patients often cover others
        rows = np.flatnonzero(wants[:, column])
        if covered[column] or not len(rows):
            continue
        patient = int(order[rank[codes[rows]].min()])
        chosen.append(patient)
        covered |= wants[codes == patient].any(0)
    return np.array(chosen, np.int64)
