"""One metric of one column: every value, gain over the baseline and pair of encoders, with its variances."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cxrbench.leaderboard.board import HEADLINE, Table
from cxrbench.leaderboard.statistics import kept as kept_at
from cxrbench.leaderboard.statistics.alignment import TestFacts, TestSet
from cxrbench.leaderboard.statistics.bootstrap import percentile_p, threads, unheard
from cxrbench.leaderboard.statistics.counting import Counted, counted
from cxrbench.leaderboard.statistics.evaluate import ByLabel, Estimate, components_of, resampling
from cxrbench.leaderboard.statistics.inference import Components
from cxrbench.leaderboard.statistics.kept import NO_ENTRIES, NOTHING_KEPT, Evaluations, key
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
    *,
    first_only: bool = False,
) -> list[Measured]:
    """Evaluate metrics on a test set, all on the same resamples; without those that do not belong to this task.

    Of an encoder's replicates only the headline's are held: ten thousand of every label would fill the memory;
    ``first_only``: those of the first metric alone. ``kept``: evaluations of before, of which those that are needed are
    not made again; the new ones are kept, of a small test set with ``first_only``. ``told``: how many more replicates
    of a cell are done.
    """
    small = tests.targets.size < kept_at.LEAST
    entries = kept.of(tests, [measure.name for measure in measures]) if first_only or not small else NO_ENTRIES
    drawn = resampling(tests, measures, replicates, seed, entries)
    if not drawn.outlines:
        return []
    order = sorted(tests.rows, key=lambda encoder: encoder != baseline)  # first what all others are compared with
    keys = {encoder: key("small" if small else "", drawn.key(encoder, baseline)) for encoder in order}
    of_pairs = key("pairs", [(encoder, keys[encoder]) for encoder in tests.rows])
    found = {e: _Evaluated.of(*entry) for e in order if (entry := entries.get(keys[e])) is not None}
    apart = _read_pairs(entries.get(of_pairs)) if len(found) == len(order) else None
    if small and apart is None:  # pairs are made of all replicates
        found = {}
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
            entries.add(keys[encoder], *found[encoder].entry(1 if small else None))
    by_metric = [{encoder: found[encoder].metrics[k] for encoder in tests.rows} for k in range(len(drawn.outlines))]
    if apart is None:
        with ThreadPoolExecutor(threads()) as pool:  # several MB of differences for each metric
            apart = list(pool.map(_pairs, drawn.outlines, by_metric))
    if small and missing:
        entries.add(of_pairs, [[[*of, *vars(c).values()] for of, c in each.items()] for each in apart], np.empty(0))
    kept.save(entries)
    several = [_of_metric(tests, *one) for one in zip(drawn.outlines, by_metric, apart, strict=True)]
    return [several[0], *(one.without_replicates() for one in several[1:])] if first_only else several


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

    def entry(self, drawn: int | None) -> tuple[list[dict[str, Any]], Array]:
        """As plain values and an array, the replicates [metrics, S, B] of the first ``drawn`` headlines (of all)."""
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
        return facts, np.stack([one.headline.replicates for one in self.metrics[:drawn]])

    @staticmethod
    def of(facts: Sequence[Mapping[str, Any]], replicates: Array) -> "_Evaluated":
        """From ``entry``; headlines whose replicates were not kept have none."""
        none = [replicates[0][:, :0]] * (len(facts) - len(replicates))
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
                for one, drawn in zip(facts, [*replicates, *none], strict=True)
            )
        )  # fmt: skip


def _evaluated(outlines: Sequence[Outline], by_metric: Sequence[ByLabel], base: Sequence[ByLabel]) -> _Evaluated:
    """From an encoder's estimates, and those of what it is compared with: of all metrics at once."""
    values = iter(components_of([one for by_label in by_metric for one in by_label.values()]))
    compared = [
        [label for label in by_label if label in against and label in outline.tested]
        for outline, by_label, against in zip(outlines, by_metric, base, strict=True)
    ]
    pairs_of = [(by_metric[k][x], base[k][x], outlines[k].measure) for k, of in enumerate(compared) for x in of]
    gains = iter(improvements(*map(list, zip(*pairs_of, strict=True))) if pairs_of else ())
    return _Evaluated(
        tuple(
            _of_estimates(
                outline.measure, by_label, against, {label: next(values) for label in by_label},
                {label: next(gains) for label in of},
            )
            for outline, by_label, against, of in zip(outlines, by_metric, base, compared, strict=True)
        )
    )  # fmt: skip


def _of_estimates(
    measure: Measure, by_label: ByLabel, base: ByLabel, values: dict[str, Components], gains: dict[str, Components]
) -> _OfMetric:
    headline = by_label[HEADLINE]
    return _OfMetric(
        values=values,
        gains=gains,
        percentiles=_percentiles(measure, by_label, base, gains),
        folds={label: fold for label, one in by_label.items() if (fold := _folds(one))},
        sd_seeds={label: float(one.points.std(ddof=1)) for label, one in by_label.items() if len(one.points) > 1},
        headline=replace(headline, replicates=headline.replicates.copy()),  # it may be a part of all labels'
    )


def _percentiles(measure: Measure, by_label: ByLabel, base: ByLabel, labels: Iterable[str]) -> dict[str, float]:
    """The percentile p of each label's gain; of the same replicates once."""
    known: dict[tuple[int, int], float] = {}
    found: dict[str, float] = {}
    for label in labels:
        one, other = by_label[label], base[label]
        both = id(one.replicates), id(other.replicates)
        if both not in known:
            known[both] = percentile_p(gains_of_replicates(one, other, measure))
        found[label] = known[both]
    return found


def _pairs(one: Outline, found: Mapping[str, _OfMetric]) -> dict[Key, Components]:
    """Of all encoders, in the order of the test set's."""
    headlines = {encoder: of.headline for encoder, of in found.items()}
    return pairs(headlines, one.measure) if HEADLINE in one.tested else {}


def _read_pairs(entry: tuple[Any, Array] | None) -> list[dict[Key, Components]] | None:
    """What is kept of all pairs, by metric."""
    return entry and [{(a, b): Components(*of) for a, b, *of in each} for each in entry[0]]


def _of_metric(
    tests: TestSet, one: Outline, found: Mapping[str, _OfMetric], apart: Mapping[Key, Components]
) -> Measured:
    """A metric of all encoders, in the order of the test set's; ``apart``: its pairs."""
    headlines = {encoder: of.headline for encoder, of in found.items()}

    def each(name: str) -> dict[Key, Any]:
        return {(encoder, label): value for encoder, of in found.items() for label, value in getattr(of, name).items()}

    return Measured(
        tests=tests,
        measure=one.measure,
        values=each("values"),
        gains=each("gains"),
        percentiles=each("percentiles"),
        pairs=apart,
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
