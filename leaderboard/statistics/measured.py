"""One metric of one column: every value, gain over the baseline and pair of encoders, with its variances."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cxrbench.leaderboard.board import HEADLINE, Table
from cxrbench.leaderboard.statistics.alignment import TestFacts, TestSet
from cxrbench.leaderboard.statistics.bootstrap import unheard
from cxrbench.leaderboard.statistics.counting import Counted, counted
from cxrbench.leaderboard.statistics.evaluate import ByLabel, Estimate, resampling
from cxrbench.leaderboard.statistics.evaluated import Evaluated, OfMetric, evaluated
from cxrbench.leaderboard.statistics.inference import Components
from cxrbench.leaderboard.statistics.kept import LEAST, NOTHING_KEPT, Evaluations
from cxrbench.leaderboard.statistics.outline import Outline
from cxrbench.leaderboard.statistics.paired import KeptPairs
from cxrbench.metrics.measure import Measure

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
    ``first_only``: those of the first metric alone. ``kept``: evaluations of before, which are not made again; but
    where pairs are new, the replicates of a small test set (``LEAST``), which are not kept, are drawn again. ``told``:
    how many more replicates of a cell are done.
    """
    entries = kept.of(tests, [measure.name for measure in measures])
    drawn = resampling(tests, measures, replicates, seed, entries)
    if not drawn.outlines:
        return []
    order = sorted(tests.rows, key=lambda encoder: encoder != baseline)  # first what all others are compared with
    keys = {encoder: drawn.key(encoder, baseline) for encoder in tests.rows}
    found = {e: one for e in order if (one := Evaluated.kept(entries, keys[e])) is not None}
    new = [encoder for encoder in order if encoder not in found]
    pairs = KeptPairs.of(entries, keys, drawn.outlines)
    # of these the replicates of all headlines are needed
    wanted = {e for pair in pairs.missing for e in pair} if first_only else {*order}
    found |= {e: found[e].completed(entries, keys[e]) for e in wanted if e in found}
    again = [e for e in order if e in found and ((e in wanted and not found[e].whole) or (e == baseline and new))]
    told(sum(len(tests.rows[e]) for e in order if e not in (*new, *again)) * replicates)
    base: tuple[ByLabel, ...] | None = None
    small = tests.targets.size < LEAST
    for encoder, estimates in drawn.estimates([e for e in order if e in (*new, *again)], told):
        if encoder == baseline:
            base = estimates
        if encoder in again:
            found[encoder] = found[encoder].with_replicates(of[HEADLINE].replicates.copy() for of in estimates)
            continue
        against = base if base and encoder != baseline else ({},) * len(estimates)
        found[encoder] = evaluated(drawn.outlines, estimates, against)
        found[encoder].keep(entries, keys[encoder], small=small)
    by_metric = [{encoder: found[encoder].metrics[k] for encoder in tests.rows} for k in range(len(drawn.outlines))]
    headlines = [{encoder: of.headline for encoder, of in one.items()} for one in by_metric]
    apart = pairs.completed(headlines)
    pairs.keep(entries, apart)
    kept.save(entries)
    several = [_of_metric(tests, *one) for one in zip(drawn.outlines, by_metric, apart, strict=True)]
    return [several[0], *(one.without_replicates() for one in several[1:])] if first_only else several


def _of_metric(
    tests: TestSet, one: Outline, found: Mapping[str, OfMetric], apart: Mapping[Key, Components]
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
            x: counted(tests, x, one.counted if x == HEADLINE else None)
            for x in dict.fromkeys(x for of in found.values() for x in of.values)
        },
        seeds={encoder: len(rows) for encoder, rows in tests.rows.items()},
    )


def _by_chance(tests: TestSet, outline: Outline) -> dict[Key, float]:
    if outline.measure.by_chance is None:
        return {}
    values: dict[Key, float] = {}
    cells = iter(outline.by_chance)
    for encoder, seeds in tests.rows.items():
        each = [next(cells) for _ in seeds]
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
