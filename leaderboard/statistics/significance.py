"""Is the difference real? Holm's correction, tie groups, the smallest detectable difference, DeLong.

One error policy: the tests of a family (a metric, protocol and label fraction; real and synthetic apart) make a false
claim with a probability of at most ``ALPHA``, by Holm's correction. Against the baseline they are one-tailed, so that
the interval of a gain has the level 1 - 2 ALPHA: its lower limit is where the one-tailed test ends, and no mark stands
beside an interval that holds 0. Between pairs they are two-tailed.
"""

import string
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ALPHA = 0.05
VALUE_LEVEL = 0.95
GAIN_LEVEL = 1 - 2 * ALPHA
POWER = 0.80
NORMAL = NormalDist()


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p-values of Holm (1979): step down, monotone, at most 1. NaN (no test made) stays NaN, uncounted."""
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values)[: int((~np.isnan(values)).sum())]
    adjusted = np.full(len(values), np.nan)
    steps = values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted.tolist()


def tie_groups(values: Sequence[float], separated: NDArray[np.bool_]) -> list[str]:
    """Compact letter display: two encoders share a letter if and only if no test separates them (``unseparated``)."""
    groups = unseparated(values, separated)
    return ["".join(_letter(n) for n, g in enumerate(groups) if i in g) for i in range(len(values))]


def unseparated(values: Sequence[float], separated: NDArray[np.bool_]) -> list[frozenset[int]]:
    """Groups of k encoders, as few as can be: two share a group if and only if no test separates them.

    ``separated`` [k, k] is symmetric. Groups run from the best ``values`` (larger first) down. Insert, absorb, sweep:
    Piepho (2004), "An algorithm for a letter-based representation of all-pairwise comparisons".
    """
    groups: list[frozenset[int]] = [frozenset(range(len(values)))]
    for i, j in np.argwhere(np.triu(separated, 1)).tolist():
        split = [part for g in groups for part in ((g - {i}, g - {j}) if {i, j} <= g else (g,))]
        unique = list(dict.fromkeys(split))
        groups = [g for g in unique if not any(g < other for other in unique)]
    for g in list(groups):  # Sweep: a letter whose every pair shares another one says nothing.
        others = [other for other in groups if other != g]
        if all(any({i, j} <= other for other in others) for i in g for j in g):
            groups = others
    place = np.argsort(np.argsort(-np.asarray(values, dtype=np.float64), kind="stable"))
    return sorted(groups, key=lambda g: sorted(place[list(g)]))


def _letter(number: int) -> str:
    letters = string.ascii_letters
    return letters[number] if number < len(letters) else f"({number + 1})"


def smallest_detectable_difference(standard_error: float, tests: int) -> float:
    """What the strictest of a family's one-tailed tests finds with a power of 80%: (z(1 - ALPHA / tests) + z(.80)) SE.

    A statement about the test set's sensitivity before one looks, not about a difference that was seen.
    """
    return (NORMAL.inv_cdf(1 - ALPHA / max(1, tests)) + NORMAL.inv_cdf(POWER)) * standard_error


class DeLong(NamedTuple):
    """AUROCs [k] of k sets of scores, and their covariance matrix [k, k]."""

    aurocs: Array
    covariance: Array

    def contrast(self, weights: Array) -> tuple[float, float, float]:
        """A weighted sum of the AUROCs, (1, -1) their difference: value, standard error, one-tailed p (H0: <= 0)."""
        value, variance = float(weights @ self.aurocs), float(weights @ self.covariance @ weights)
        error = float(np.sqrt(max(variance, 0.0)))
        from scipy.special import ndtr  # here: a board, which needs no DeLong, shall not wait for scipy

        return value, error, float(ndtr(-value / error)) if error > 0 else np.nan


def delong(scores: Array, targets: Array, patients: NDArray[np.generic]) -> DeLong:
    """AUROCs of several encoders on the same images, and their covariance.

    scores: [k, n]; targets: [n], 1, 0, or NaN where unknown; patients: [n]. DeLong et al. (1988), with placements from
    midranks in O(n log n) (Sun and Xu 2014). Images of one patient are not independent, so placements are summed by
    patient (Obuchowski 1997), which is DeLong's estimator exactly where each patient has one image. NaN
    where a class has fewer than two patients.
    """
    known = ~np.isnan(targets)
    scores, positive = scores[:, known], targets[known] == 1
    cluster = np.unique(np.asarray(patients)[known], return_inverse=True)[1]
    m, n = int(positive.sum()), int((~positive).sum())
    clusters_positive, clusters_negative = (len(np.unique(cluster[side])) for side in (positive, ~positive))
    if min(clusters_positive, clusters_negative) < 2:
        return DeLong(np.full(len(scores), np.nan), np.full((len(scores), len(scores)), np.nan))
    from scipy.stats import rankdata

    ranks = rankdata(scores, axis=1)
    placements = np.empty_like(ranks)
    placements[:, positive] = (ranks[:, positive] - rankdata(scores[:, positive], axis=1)) / n
    placements[:, ~positive] = 1 - (ranks[:, ~positive] - rankdata(scores[:, ~positive], axis=1)) / m
    aurocs = placements[:, positive].mean(1)
    centred = (placements - aurocs[:, None]) / np.where(positive, m, n)
    clusters = int(cluster.max()) + 1
    by_class = [_cluster_sums(np.where(side, centred, 0.0), cluster, clusters) for side in (positive, ~positive)]
    of_positives, of_negatives = by_class
    cross = of_positives @ of_negatives.T * clusters / (clusters - 1)
    covariance = (
        of_positives @ of_positives.T * clusters_positive / (clusters_positive - 1)
        + of_negatives @ of_negatives.T * clusters_negative / (clusters_negative - 1)
        + cross
        + cross.T
    )
    return DeLong(aurocs, covariance)


def _cluster_sums(values: Array, cluster: NDArray[np.int64], clusters: int) -> Array:
    """Sums [k, clusters] of values [k, n]."""
    return np.stack([np.bincount(cluster, row, minlength=clusters).astype(np.float64) for row in values])
