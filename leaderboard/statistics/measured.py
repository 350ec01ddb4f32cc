"""One metric of one column: every value, gain over the baseline and pair of encoders, with its variances."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cxrbench.leaderboard.board import HEADLINE, Table
from cxrbench.leaderboard.statistics.alignment import TestFacts, TestSet
from cxrbench.leaderboard.statistics.bootstrap import percentile_p, unheard
from cxrbench.leaderboard.statistics.counting import Counted, counted
from cxrbench.leaderboard.statistics.evaluate import ByLabel, Estimate, resampling, stacked
from cxrbench.leaderboard.statistics.inference import Components, components_of_each
from cxrbench.leaderboard.statistics.kept import NOTHING_KEPT, Evaluations
from cxrbench.leaderboard.statistics.outline import Outline
from cxrbench.leaderboard.statistics.paired import gains_of_replicates, improvements, pairs
from cxrbench.metrics.measure import Measure
from cxrbench.metrics.prepared import Array

Key = tuple[str, str]


@dataclass(frozen=True)
class Measured:
    """A metric of a test set, ready to be tested. Improvements are positive whatever the metric.

    ``values``: by encoder and label (or group). ``gains``, with the percentile p beside them: over the baseline, where
    the label is tested; ``pairs``: improvement of the first encoder over the second, of the headline. ``headlines``:
    the headline's replicates, for what is said of several columns together. ``folds``: mean and SD over the folds;
    ``sd_seeds``: over several training seeds. ``by_chance``: as in ``Measure``, mean over seeds and a group's labels.
    ``undefined``, ``rare``, ``counted``, ``tested``: as in ``Evaluation``. ``rests_on``: by label or group, the
    rows and patients that its values rest on; ``seeds``: how many training seeds each encoder has.
    """

    tests: TestFacts
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
    rests_on: Mapping[str, Counted]
    seeds: Mapping[str, int]

    def without_replicates(self) -> "Measured":
        """For a metric of which nothing is said over several columns: ten thousand numbers less for each encoder."""
        return replace(
            self, headlines={e: replace(h, replicates=h.replicates[:, :0].copy()) for e, h in self.headlines.items()}
        )


def measured(
    tests: TestSet,
    measures: Sequence[Measure],
    baseline: str | None,
    replicates: int,
    seed: int,
    kept: Evaluations = NOTHING_KEPT,
    told: Callable[[int], None] = unheard,
) -> list[Measured]:
    """Evaluate metrics on a test set, all on the same resamples; without those that do not belong to this task.

    Of an encoder's replicates only the headline's are held: ten thousand of every label would fill the memory.
    ``kept``: evaluations of before, of which those that are needed are not made again; the new ones are kept.
    ``told``: how many more replicates of a cell are done.
    """
    entries = kept.of(tests, [measure.name for measure in measures])
    drawn = resampling(tests, measures, replicates, seed, entries)
    if not drawn.outlines:
        return []
    order = sorted(tests.rows, key=lambda encoder: encoder != baseline)  # first what all others are compared with
    keys = {encoder: drawn.key(encoder, baseline) for encoder in order}
    found = {e: _Evaluated.of(*entry) for e in order if (entry := entries.get(keys[e])) is not None}
    missing = [encoder for encoder in order if encoder not in found]
    if missing and baseline in found:
        missing = [str(baseline), *missing]
    told(sum(len(tests.rows[e]) for e in order if e not in missing) * replicates)
    base: tuple[ByLabel, ...] | None = None
    for encoder, estimates in drawn.estimates(missing, told):
        if encoder == baseline:
            base = estimates
        against = base if base and encoder != baseline else ({},) * len(estimates)
        found[encoder] = _evaluated(drawn.outlines, estimates, against)
        if entries.path is not None:
            entries.add(keys[encoder], *found[encoder].entry())
    kept.save(entries)
    by_metric = [{encoder: found[encoder].metrics[k] for encoder in tests.rows} for k in range(len(drawn.outlines))]
    return [_of_metric(tests, one, of) for one, of in zip(drawn.outlines, by_metric, strict=True)]


@dataclass(frozen=True)
class _OfMetric:
    """What a board needs of an encoder's metric, by label; as in ``Measured``."""

    values: Mapping[str, Components]
    gains: Mapping[str, Components]
    percentiles: Mapping[str, float]
    folds: Mapping[str, tuple[float, float]]
    sd_seeds: Mapping[str, float]
    headline: Estimate


@dataclass(frozen=True)
class _Evaluated:
    """All metrics of an encoder."""

    metrics: tuple[_OfMetric, ...]

    def entry(self) -> tuple[list[dict[str, Any]], Array]:
        """As plain values and an array, the headlines' replicates [metrics, S, B]."""
        facts = [
            {
                "values": {label: [*vars(of).values()] for label, of in one.values.items()},
                "gains": {label: [*vars(of).values()] for label, of in one.gains.items()},
                "percentiles": one.percentiles,
                "folds": one.folds,
                "sd_seeds": one.sd_seeds,
                "points": one.headline.points.tolist(),
                "seeds": one.headline.seeds,
                "patients_df": one.headline.patients_df,
                "of_folds": one.headline.folds.tolist(),
            }
            for one in self.metrics
        ]
        return facts, np.stack([one.headline.replicates for one in self.metrics])

    @staticmethod
    def of(facts: Sequence[Mapping[str, Any]], replicates: Array) -> "_Evaluated":
        """From ``entry``."""
        return _Evaluated(
            tuple(
                _OfMetric(
                    values={label: Components(*of) for label, of in one["values"].items()},
                    gains={label: Components(*of) for label, of in one["gains"].items()},
                    percentiles=one["percentiles"],
                    folds={label: (of[0], of[1]) for label, of in one["folds"].items()},
                    sd_seeds=one["sd_seeds"],
                    headline=Estimate(
                        np.array(one["points"]), drawn.copy(), tuple(one["seeds"]), one["patients_df"],
                        np.array(one["of_folds"], dtype=np.float64),
                    ),
                )
                for one, drawn in zip(facts, replicates, strict=True)
            )
        )  # fmt: skip


def _evaluated(outlines: Sequence[Outline], by_metric: Sequence[ByLabel], base: Sequence[ByLabel]) -> _Evaluated:
    """From an encoder's estimates, and those of what it is compared with."""
    return _Evaluated(tuple(map(_of_estimates, outlines, by_metric, base)))


def _of_estimates(outline: Outline, by_label: ByLabel, base: ByLabel) -> _OfMetric:
    measure, headline = outline.measure, by_label[HEADLINE]
    compared = [label for label in by_label if label in base and label in outline.tested]
    gains = improvements([by_label[label] for label in compared], [base[label] for label in compared], measure)
    return _OfMetric(
        values=dict(zip(by_label, components_of_each(*stacked([*by_label.values()])), strict=True)),
        gains=dict(zip(compared, gains, strict=True)),
        percentiles={
            label: percentile_p(gains_of_replicates(by_label[label], base[label], measure)) for label in compared
        },
        folds={label: fold for label, one in by_label.items() if (fold := _folds(one))},
        sd_seeds={label: float(one.points.std(ddof=1)) for label, one in by_label.items() if len(one.points) > 1},
        headline=replace(headline, replicates=headline.replicates.copy()),  # it may be a part of all labels'
    )


def _of_metric(tests: TestSet, one: Outline, found: Mapping[str, _OfMetric]) -> Measured:
    """A metric of all encoders, in the order of the test set's."""
    headlines = {encoder: of.headline for encoder, of in found.items()}
    names = list(headlines) if HEADLINE in one.tested else []

    def each(name: str) -> dict[Key, Any]:
        return {(encoder, label): value for encoder, of in found.items() for label, value in getattr(of, name).items()}

    return Measured(
        tests=tests,
        measure=one.measure,
        values=each("values"),
        gains=each("gains"),
        percentiles=each("percentiles"),
        pairs=pairs({name: headlines[name] for name in names}, one.measure),
        headlines=headlines,
        folds=each("folds"),
        sd_seeds=each("sd_seeds"),
        by_chance=_by_chance(tests, one),
        undefined=one.undefined,
        rare=one.rare,
        counted=one.counted,
        tested=one.tested,
        rests_on={
            x: counted(tests, x, one.counted if x == HEADLINE else None) for of in found.values() for x in of.values
        },
        seeds={encoder: len(rows) for encoder, rows in tests.rows.items()},
    )


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
