"""One metric of one column: every value, gain over the baseline and pair of encoders, with its variances."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from cxrbench.leaderboard.board import HEADLINE, Table
from cxrbench.leaderboard.statistics.alignment import TestSet
from cxrbench.leaderboard.statistics.bootstrap import percentile_p
from cxrbench.leaderboard.statistics.evaluate import Estimate, Evaluation, evaluate
from cxrbench.leaderboard.statistics.inference import Components, components
from cxrbench.metrics.measure import Measure

Key = tuple[str, str]


@dataclass(frozen=True)
class Measured:
    """A metric of a test set, ready to be tested. Improvements are positive whatever the metric.

    ``values``: by encoder and label (or group). ``gains``, with the percentile p beside them: over the baseline, where
    the label is tested; ``pairs``: improvement of the first encoder over the second, of the headline. ``headlines``:
    the headline's replicates, for what is said of several columns together. ``folds``: mean and SD over the folds;
    ``sd_seeds``: over several training seeds. ``by_chance``: as in ``Measure``, mean over seeds and a group's labels.
    ``undefined``, ``rare``, ``counted``, ``tested``: as in ``Evaluation``.
    """

    tests: TestSet
    measure: Measure
    values: Mapping[Key, Components]
    gains: Mapping[Key, Components]
    percentiles: Mapping[Key, float]
    pairs: Mapping[Key, Components]
    headlines: Mapping[str, Estimate]
    folds: Mapping[Key, tuple[float, float]]
    sd_seeds: Mapping[Key, float]
    by_chance: Mapping[Key, float]
    undefined: tuple[str, ...]
    rare: tuple[str, ...]
    counted: tuple[str, ...]
    tested: frozenset[str]


def measured(tests: TestSet, measure: Measure, baseline: str | None, replicates: int, seed: int) -> Measured | None:
    """Evaluate a metric on a test set; None if the metric does not belong to this task."""
    found = evaluate(tests, measure, replicates, seed)
    if not found.estimates:
        return None
    base = found.estimates.get(baseline or "", {})
    tested = [
        (encoder, label)
        for encoder, by_label in found.estimates.items()
        for label in by_label
        if base and encoder != baseline and label in found.tested
    ]
    headlines = {encoder: by_label[HEADLINE] for encoder, by_label in found.estimates.items()}
    names = list(headlines) if HEADLINE in found.tested else []
    return Measured(
        tests=tests,
        measure=measure,
        values={(e, x): one.components() for e, by_label in found.estimates.items() for x, one in by_label.items()},
        gains={key: improvement(found.estimates[key[0]][key[1]], base[key[1]], measure) for key in tested},
        percentiles={(e, x): percentile_p(_sign(measure) * _paired(found.estimates[e][x], base[x])) for e, x in tested},
        pairs={(a, b): improvement(headlines[a], headlines[b], measure) for a, b in combinations(names, 2)},
        headlines=headlines,
        folds=_folds(found),
        sd_seeds=_sd_seeds(found),
        by_chance=_by_chance(tests, measure, found),
        undefined=found.undefined,
        rare=found.rare,
        counted=found.counted,
        tested=found.tested,
    )


def improvement(candidate: Estimate, other: Estimate, measure: Measure) -> Components:
    """How much better the candidate is. Seeds of the same numbers drew the same training patients: they are paired.

    Otherwise the seeds of both vary by themselves, with Welch's degrees of freedom, and what only one of them has
    stands alone.
    """
    sign, df = _sign(measure), min(candidate.patients_df, other.patients_df)
    if candidate.seeds == other.seeds:
        points, replicates = candidate.points - other.points, candidate.replicates - other.replicates
        return components(sign * points, sign * replicates, df)
    value = sign * (candidate.value - other.value)
    alone = components(np.array([value]), sign * _paired(candidate, other)[None], df)
    parts = [one for one in (candidate.components(), other.components()) if one.seeds_df > 0]
    between = sum(one.between for one in parts)
    welch = between**2 / sum(one.between**2 / one.seeds_df for one in parts) if between else 0.0
    return Components(
        value, alone.patients, df, between, sum(one.shared for one in parts), welch, alone.note
    )  # fmt: skip


def _paired(a: Estimate, b: Estimate) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Differences [B] of the means over seeds, on the same resampled patients."""
    return a.replicates.mean(0) - b.replicates.mean(0)


def _sign(measure: Measure) -> float:
    return 1.0 if measure.higher_is_better else -1.0


def _folds(found: Evaluation) -> dict[Key, tuple[float, float]]:
    """Mean and SD over the folds that have a value, where folds were ranked one by one."""
    values = {(e, x): one.folds for e, of in found.estimates.items() for x, one in of.items() if len(one.folds)}
    known = {key: folds[~np.isnan(folds)] for key, folds in values.items()}
    return {key: (float(of.mean()), float(of.std(ddof=1))) for key, of in known.items() if len(of) > 1}


def _sd_seeds(found: Evaluation) -> dict[Key, float]:
    """SD over training seeds, where several were run."""
    several = {(e, x): one.points for e, of in found.estimates.items() for x, one in of.items() if len(one.points) > 1}
    return {key: float(points.std(ddof=1)) for key, points in several.items()}


def _by_chance(tests: TestSet, measure: Measure, found: Evaluation) -> dict[Key, float]:
    if measure.by_chance is None:
        return {}
    values: dict[Key, float] = {}
    for encoder, seeds in tests.rows.items():
        each = [measure.by_chance(rows, tests.labels) for rows in seeds]
        known = {label: float(np.mean([one[label] for one in each])) for label in tests.labels if label in each[0]}
        values |= {(encoder, label): value for label, value in known.items()}
        for name, group in tests.groups.items():
            of = [known[x] for x in group if x in known and (x in found.counted or name != HEADLINE)]
            if of:
                values[encoder, name] = float(np.mean(of))
    return values


def families(several: Sequence[Measured]) -> dict[Table, list[Measured]]:
    """Those whose tests are corrected together: of a metric, protocol and label fraction, real and synthetic apart."""
    found: dict[Table, list[Measured]] = {}
    for one in several:
        task = one.tests.task
        found.setdefault((one.measure.name, task.protocol, task.fraction, task.synthetic), []).append(one)
    return found
