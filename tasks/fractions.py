"""Which training images a label fraction keeps."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrbench.data.subsets.order import covering_order, stratified_order


def label_fraction(
    patients: NDArray[np.str_], targets: NDArray[np.float32], fraction: float, seed: int, *, stratified: bool = False
) -> NDArray[np.int64]:
    """Sorted row numbers of about ``fraction`` of the rows: whole patients, nested, every label present.

    patients: [n]; targets: [n, L] of 0, 1, NaN. Patients are put in one order that depends on the seed alone: first
    those needed so that each label has a positive and a negative among them, the rest at random. A fraction keeps the
    shortest prefix of that order that holds ``round(fraction * n)`` rows and all of the needed patients, so a
    smaller fraction is always a subset of a larger one. Fraction 1 is every row. ``stratified``: the rest is not at
    random but in an order of which every prefix has the labels' combinations in their proportions.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"a label fraction lies in (0, 1], not {fraction}")
    codes, names = pd.factorize(patients, sort=True)
    order, needed = covering_order(codes, targets, seed) if not stratified else stratified_order(codes, targets, seed)
    sizes = np.bincount(codes, minlength=len(names))[order]
    wanted = max(1, round(fraction * len(patients)))
    length = max(int(np.searchsorted(np.cumsum(sizes), wanted)) + 1, needed)
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
