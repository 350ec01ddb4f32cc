"""One metric of one column: every value, gain over the baseline and pair of encoders, with its variances."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from cxrbench.leaderboard.board import HEADLINE, Table
from cxrbench.leaderboard.statistics.alignment import TestSet
from cxrbench.leaderboard.statistics.bootstrap import percentile_p
from cxrbench.leaderboard.statistics.evaluate import ByLabel, Estimate, resampling
from cxrbench.leaderboard.statistics.inference import Components, components
from cxrbench.leaderboard.statistics.outline import Outline
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


def measured(
    tests: TestSet, measures: Sequence[Measure], baseline: str | None, replicates: int, seed: int
) -> list[Measured]:
    """Evaluate metrics on a test set, all on the same resamples; without those that do not belong to this task.

    Of an encoder's replicates only the headline's are kept: ten thousand of every label would fill the memory.
    """
    drawn = resampling(tests, measures, replicates, seed)
    drafts = [_Gathered(one) for one in drawn.outlines]
    order = sorted(tests.rows, key=lambda encoder: encoder != baseline)  # first what all others are compared with
    base: tuple[ByLabel, ...] | None = None
    for encoder, by_metric in drawn.estimates(order):
        if encoder == baseline:
            base = by_metric
        for k, draft in enumerate(drafts):
            draft.add(encoder, by_metric[k], base[k] if base and encoder != baseline else {})
    return [draft.measured(tests) for draft in drafts]


@dataclass
class _Gathered:
    """What is kept of a metric while encoder after encoder is evaluated."""

    outline: Outline
    values: dict[Key, Components] = field(default_factory=dict)
    gains: dict[Key, Components] = field(default_factory=dict)
    percentiles: dict[Key, float] = field(default_factory=dict)
    headlines: dict[str, Estimate] = field(default_factory=dict)
    folds: dict[Key, tuple[float, float]] = field(default_factory=dict)
    sd_seeds: dict[Key, float] = field(default_factory=dict)

    def add(self, encoder: str, by_label: ByLabel, base: ByLabel) -> None:
        """An encoder's estimates, beside those of the baseline."""
        measure = self.outline.measure
        self.headlines[encoder] = by_label[HEADLINE]
        for label, one in by_label.items():
            key = encoder, label
            self.values[key] = one.components()
            if fold := _folds(one):
                self.folds[key] = fold
            if len(one.points) > 1:
                self.sd_seeds[key] = float(one.points.std(ddof=1))
            if label in base and label in self.outline.tested:
                self.gains[key] = improvement(one, base[label], measure)
                self.percentiles[key] = percentile_p(_sign(measure) * _paired(one, base[label]))

    def measured(self, tests: TestSet) -> Measured:
        """All of them, in the order of the test set's encoders."""
        one = self.outline
        place = {encoder: i for i, encoder in enumerate(tests.rows)}
        headlines = {encoder: self.headlines[encoder] for encoder in tests.rows}
        names = list(headlines) if HEADLINE in one.tested else []
        values, gains = (dict(sorted(of.items(), key=lambda kv: place[kv[0][0]])) for of in (self.values, self.gains))
        return Measured(
            tests=tests,
            measure=one.measure,
            values=values,
            gains=gains,
            percentiles=self.percentiles,
            pairs={(a, b): improvement(headlines[a], headlines[b], one.measure) for a, b in combinations(names, 2)},
            headlines=headlines,
            folds=self.folds,
            sd_seeds=self.sd_seeds,
            by_chance=_by_chance(tests, one),
            undefined=one.undefined,
            rare=one.rare,
            counted=one.counted,
            tested=one.tested,
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


def _folds(one: Estimate) -> tuple[float, float] | None:
    """Mean and SD over the folds that have a value, where folds were ranked one by one."""
    known = one.folds[~np.isnan(one.folds)]
    return (float(known.mean()), float(known.std(ddof=1))) if len(known) > 1 else None


def _by_chance(tests: TestSet, outline: Outline) -> dict[Key, float]:
    measure = outline.measure
    if measure.by_chance is None:
        return {}
    values: dict[Key, float] = {}
    for encoder, seeds in tests.rows.items():
        each = [measure.by_chance(rows, tests.labels) for rows in seeds]
        known = {label: float(np.mean([one[label] for one in each])) for label in tests.labels if label in each[0]}
        values |= {(encoder, label): value for label, value in known.items()}
        for name, group in tests.groups.items():
            of = [known[x] for x in group if x in known and (x in outline.counted or name != HEADLINE)]
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
