"""How much better is one encoder than another, on the same resampled patients: an improvement with its variances."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from cxrbench.leaderboard.statistics.evaluate import Estimate
from cxrbench.leaderboard.statistics.inference import Components, components, components_of_each
from cxrbench.metrics.measure import Measure
from cxrbench.metrics.prepared import Array

CANCELLED = 1e-3  # of the sum of two variances: a difference's that is smaller is not computed from them


def improvement(candidate: Estimate, other: Estimate, measure: Measure) -> Components:
    """How much better the candidate is. Seeds of the same numbers drew the same training patients: they are paired.

    Otherwise the seeds of both vary by themselves, with Welch's degrees of freedom, and what only one of them has
    stands alone.
    """
    return improvements([candidate], [other], measure)[0]


def improvements(candidates: Sequence[Estimate], others: Sequence[Estimate], measure: Measure) -> list[Components]:
    """``improvement`` of each candidate over the other in its place."""
    if len({one.seeds for one in (*candidates, *others)}) > 1:
        return [
            _unpaired(a, b, measure) if a.seeds != b.seeds else improvement(a, b, measure)
            for a, b in zip(candidates, others, strict=True)
        ]
    if not candidates:
        return []
    points = np.array([a.points - b.points for a, b in zip(candidates, others, strict=True)])
    replicates = np.empty((len(candidates), *candidates[0].replicates.shape))
    for k, (a, b) in enumerate(zip(candidates, others, strict=True)):
        np.subtract(a.replicates, b.replicates, out=replicates[k])
    df = [min(a.patients_df, b.patients_df) for a, b in zip(candidates, others, strict=True)]
    return components_of_each(sign(measure) * points, replicates, df)  # variances have no sign


def pairs(estimates: Mapping[str, Estimate], measure: Measure) -> dict[tuple[str, str], Components]:
    """The improvement of each encoder over each one after it."""
    found = {
        (a, b): Components(sign(measure) * (one.value - other.value), variance, min(one.patients_df, other.patients_df))
        for (a, b), variance in _of_differences(estimates).items()
        for one, other in [(estimates[a], estimates[b])]
    }
    names = list(estimates)
    for i, a in enumerate(names):
        others = [b for b in names[i + 1 :] if (a, b) not in found]
        gains = improvements([estimates[a]] * len(others), [estimates[b] for b in others], measure)
        found |= {(a, b): gain for b, gain in zip(others, gains, strict=True)}
    return {pair: found[pair] for pair in combinations(names, 2)}


def _of_differences(estimates: Mapping[str, Estimate]) -> dict[tuple[str, str], float]:
    """Variances of the differences of pairs of one seed each, from the covariances of all: one product of matrices.

    Nothing where a value or a replicate is undefined; no pair of which so little is left of both variances that digits
    would be lost (of the same predictions nothing is).
    """
    each = list(estimates.values())
    if len({one.seeds for one in each}) != 1 or len(each[0].seeds) > 1 or len(each) < 2 or each[0].means.size < 2:
        return {}
    covariances = np.cov([one.means for one in each])
    if np.isnan([one.value for one in each]).any() or np.isnan(covariances).any():
        return {}
    apart = np.diagonal(covariances) + np.diagonal(covariances)[:, None]
    variances = apart - 2 * covariances
    told = variances > CANCELLED * apart
    return {(a, b): float(variances[i, j]) for (i, a), (j, b) in combinations(enumerate(estimates), 2) if told[i, j]}


def gains_of_replicates(candidate: Estimate, other: Estimate, measure: Measure) -> Array:
    """How much better the candidate's mean over its seeds is in each replicate [B]."""
    return sign(measure) * (candidate.means - other.means)


def sign(measure: Measure) -> float:
    """What turns a difference so that positive is better."""
    return 1.0 if measure.higher_is_better else -1.0


def _unpaired(candidate: Estimate, other: Estimate, measure: Measure) -> Components:
    value, df = sign(measure) * (candidate.value - other.value), min(candidate.patients_df, other.patients_df)
    alone = components(np.array([value]), gains_of_replicates(candidate, other, measure)[None], df)
    parts = [one for one in (candidate.components(), other.components()) if one.seeds_df > 0]
    between = sum(one.between for one in parts)
    welch = between**2 / sum(one.between**2 / one.seeds_df for one in parts) if between else 0.0
    return Components(
        value, alone.patients, df, between, sum(one.shared for one in parts), welch, alone.note
    )  # fmt: skip
