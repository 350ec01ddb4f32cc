"""How much better is one encoder than another, on the same resampled patients: an improvement with its variances."""

from collections.abc import Mapping, Sequence

import numpy as np

from cxrbench.leaderboard.statistics.evaluate import Estimate
from cxrbench.leaderboard.statistics.inference import Components, components, components_of_each, some_at_once
from cxrbench.metrics.measure import Measure
from cxrbench.metrics.prepared import Array


def improvement(candidate: Estimate, other: Estimate, measure: Measure) -> Components:
    """How much better the candidate is. Seeds of the same numbers drew the same training patients: they are paired.

    Otherwise the seeds of both vary by themselves, with Welch's degrees of freedom, and what only one of them has
    stands alone.
    """
    return improvements([candidate], [other], [measure])[0]


def improvements(
    candidates: Sequence[Estimate], others: Sequence[Estimate], measures: Sequence[Measure]
) -> list[Components]:
    """``improvement`` of each candidate over the other in its place, by the measure in its place.

    What is made of the same replicates as another one (a group of one label) is computed once.
    """
    if len({one.seeds for one in (*candidates, *others)}) > 1:
        return [
            _unpaired(a, b, measure) if a.seeds != b.seeds else improvement(a, b, measure)
            for a, b, measure in zip(candidates, others, measures, strict=True)
        ]
    if not candidates:
        return []
    keys = [(id(a.replicates), id(b.replicates)) for a, b in zip(candidates, others, strict=True)]
    first = dict(zip(keys, zip(candidates, others, measures, strict=True), strict=True))
    several = [*first.values()]
    found: list[Components] = []
    for part in some_at_once(len(several), candidates[0].replicates.nbytes):
        points = np.array([measure.sign * (a.points - b.points) for a, b, measure in several[part]])
        replicates = np.empty((len(points), *candidates[0].replicates.shape))
        for k, (a, b, _) in enumerate(several[part]):  # variances have no sign
            np.subtract(a.replicates, b.replicates, out=replicates[k])
        found += components_of_each(points, replicates, [_df(a, b) for a, b, _ in several[part]])
    by_replicates = dict(zip(first, found, strict=True))
    return [by_replicates[of].with_patients_df(_df(a, b)) for of, a, b in zip(keys, candidates, others, strict=True)]


def _df(a: Estimate, b: Estimate) -> float:
    """Degrees of freedom of the patients' variance of a difference."""
    return min(a.patients_df, b.patients_df)


def pairs(estimates: Mapping[str, Estimate], measure: Measure) -> dict[tuple[str, str], Components]:
    """The improvement of each encoder over each one after it."""
    found: dict[tuple[str, str], Components] = {}
    names = list(estimates)
    for i, a in enumerate(names):
        others = names[i + 1 :]
        gains = improvements([estimates[a]] * len(others), [estimates[b] for b in others], [measure] * len(others))
        found |= {(a, b): gain for b, gain in zip(others, gains, strict=True)}
    return found


def gains_of_replicates(candidate: Estimate, other: Estimate, measure: Measure) -> Array:
    """How much better the candidate's mean over its seeds is in each replicate [B]."""
    return measure.sign * (candidate.means - other.means)


def _unpaired(candidate: Estimate, other: Estimate, measure: Measure) -> Components:
    value, df = measure.sign * (candidate.value - other.value), min(candidate.patients_df, other.patients_df)
    alone = components(np.array([value]), gains_of_replicates(candidate, other, measure)[None], df)
    parts = [one for one in (candidate.components(), other.components()) if one.seeds_df > 0]
    between = sum(one.between for one in parts)
    welch = between**2 / sum(one.between**2 / one.seeds_df for one in parts) if between else 0.0
    return Components(value, alone.patients, df, between, sum(one.shared for one in parts), welch, alone.note)
