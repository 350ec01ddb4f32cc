"""Orders of units (patients, studies, images) whose prefixes are label subsets: a smaller one lies in a larger one."""

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]


def covering_order(codes: Codes, targets: NDArray[np.float32], seed: int) -> tuple[Codes, int]:
    """All units: first those by which every label has a positive and a negative, then the rest, at random.

    codes: [n], the unit of each row, from 0 without gaps; targets: [n, L] of 0, 1, NaN. Returns the order [units] and
    how many of them come first; it depends on nothing but these and the seed.
    """
    shuffled = np.random.default_rng(seed).permutation(int(codes.max(initial=-1)) + 1)
    needed = covering(codes, targets, shuffled)
    return np.concatenate([needed, shuffled[~np.isin(shuffled, needed)]]), len(needed)


def stratified_order(codes: Codes, targets: NDArray[np.float32], seed: int) -> tuple[Codes, int]:
    """As ``covering_order``, with a rest of which every prefix has all combinations of labels in their proportions.

    Proportionate stratification: the m units of one combination of positive labels are put, in random order, at
    (rank + u) / m, u drawn once per combination, and all units are sorted by that: of each combination a prefix of
    the share f holds f m units, give or take one. A unit is positive where one of its rows is.
    """
    units = int(codes.max(initial=-1)) + 1
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(units)
    needed = covering(codes, targets, shuffled)
    positive = np.zeros((units, targets.shape[1]), bool)
    np.logical_or.at(positive, codes, targets == 1)
    _, combination = np.unique(positive, axis=0, return_inverse=True)
    combination = combination.reshape(-1)
    sizes = np.bincount(combination)
    start = rng.random(len(sizes))
    grouped = shuffled[np.argsort(combination[shuffled], kind="stable")]
    rank = np.empty(units, np.int64)
    rank[grouped] = np.arange(units) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    place = (rank + start[combination]) / sizes[combination]
    rest = shuffled[np.argsort(place[shuffled], kind="stable")]
    return np.concatenate([needed, rest[~np.isin(rest, needed)]]), len(needed)


def covering(codes: Codes, targets: NDArray[np.float32], order: Codes) -> Codes:
    """Units, in the given order, that together hold a positive and a negative of every label that has both."""
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    wants = np.concatenate([targets == 1, targets == 0], axis=1)  # [n, 2L]
    chosen: list[int] = []
    covered = np.zeros(wants.shape[1], bool)
    for column in np.argsort(wants.sum(0), kind="stable"):  # the rarest first: its units often cover others
        rows = np.flatnonzero(wants[:, column])
        if covered[column] or not len(rows):
            continue
        unit = int(order[rank[codes[rows]].min()])
        chosen.append(unit)
        covered |= wants[codes == unit].any(0)
    return np.array(chosen, np.int64)
