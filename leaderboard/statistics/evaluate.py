"""From aligned predictions to estimates: every metric of every label and group, with its bootstrap replicates."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cxrbench.leaderboard.statistics.alignment import TestSet
from cxrbench.leaderboard.statistics.bootstrap import replicate_cells, unheard
from cxrbench.leaderboard.statistics.digests import content, key
from cxrbench.leaderboard.statistics.in_folds import prepared
from cxrbench.leaderboard.statistics.inference import Components, components, components_of_each, some_at_once
from cxrbench.leaderboard.statistics.kept import NO_ENTRIES, Entries
from cxrbench.leaderboard.statistics.outline import OfCell, Outline, Points, outline
from cxrbench.metrics.measure import Measure
from cxrbench.metrics.prepared import Array, Weights
from cxrbench.metrics.together import Together

AT_ONCE = 400 << 20  # bytes of prepared metrics and their replicates that are held at once, as far as encoders allow
PER_VALUE = 20  # bytes that a prepared metric takes for each row, about

ByLabel = Mapping[str, "Estimate"]


@dataclass(frozen=True)
class Estimate:
    """One metric of one encoder on one label or group.

    ``points`` [S]: on the test set as it is, by training seed (``seeds``); ``replicates`` [S, B]: patients resampled,
    alike for every encoder and seed. ``patients_df``: degrees of freedom of the patients' variance. ``folds`` [K]: of
    a cross-validation whose folds are ranked each by itself, mean over seeds, NaN where undefined; else empty.
    """

    points: Array
    replicates: Array
    seeds: tuple[int, ...]
    patients_df: float
    folds: Array

    @property
    def value(self) -> float:
        """Mean over training seeds."""
        return float(self.points.mean())

    @property
    def means(self) -> Array:
        """Replicates [B] of the mean over seeds."""
        return self.replicates[0] if len(self.replicates) == 1 else self.replicates.mean(0)

    def components(self) -> Components:
        """The value with its variances from patients and seeds."""
        return components(self.points, self.replicates, self.patients_df)


def components_of(estimates: Sequence[Estimate]) -> list[Components]:
    """``Estimate.components`` of each of one encoder's: of those that share their replicates, computed once."""
    first = {id(one.replicates): one for one in estimates}
    several = [*first.values()]
    found: list[Components] = []
    for part in some_at_once(len(several), several[0].replicates.nbytes):
        points, replicates = ([getattr(x, of) for x in several[part]] for of in ("points", "replicates"))
        df = [one.patients_df for one in several[part]]
        found += components_of_each(np.array(points), np.array(replicates), df)
    by_replicates = dict(zip(first, found, strict=True))
    return [by_replicates[id(one.replicates)].with_patients_df(one.patients_df) for one in estimates]


@dataclass(frozen=True)
class Evaluation:
    """One metric of all encoders on one test set.

    ``estimates``: by encoder, then by group name or label; none if the metric does not belong to this task.
    ``undefined``: labels without a value for some encoder; ``rare``: those of too few patients to be tested. Both are
    left out of every mean, the rare ones unless a group has no others: ``counted`` are the labels of the headline.
    ``tested``: groups and labels that are tested.
    """

    estimates: dict[str, dict[str, Estimate]]
    undefined: tuple[str, ...] = ()
    rare: tuple[str, ...] = ()
    counted: tuple[str, ...] = ()
    tested: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Resampling:
    """Metrics of a test set, outlined, and how to draw their replicates: an encoder at a time, all metrics together.

    ``outlines``: of the metrics that belong to the task. All that is drawn of all encoders would not fit into memory:
    whoever asks keeps what is needed. The resamples are the same for all. ``contents``: a digest of each cell.
    """

    tests: TestSet
    outlines: tuple[Outline, ...]
    prepare: Callable[[int], Together]
    replicates: int
    seed: int
    contents: tuple[str, ...]

    @cached_property
    def cells(self) -> tuple[str, ...]:
        """The encoder of each cell."""
        return tuple(encoder for encoder, seeds in self.tests.rows.items() for _ in seeds)

    def key(self, encoder: str, baseline: str | None) -> str:
        """Of what an encoder's estimates, and its gains over the baseline, depend on beside the test set."""
        cells = list(zip(self.cells, self.contents, self._seeds, strict=True))
        made_of = [[[what, seed] for name, what, seed in cells if name == e] for e in (encoder, baseline)]
        return key("encoder", self.replicates, self.seed, self._outlined, made_of)

    @cached_property
    def _outlined(self) -> str:
        """A digest of what the outlines say."""
        return key([one.facts() for one in self.outlines])

    @cached_property
    def _seeds(self) -> tuple[int, ...]:
        """The training seed of each cell."""
        return tuple(seed for seeds in self.tests.seeds.values() for seed in seeds)

    def estimates(
        self, order: Sequence[str], told: Callable[[int], None] = unheard
    ) -> Iterator[tuple[str, tuple[ByLabel, ...]]]:
        """Of the encoders in this order: for each metric the estimates by group name or label.

        ``told``: how many more replicates of a cell are done.
        """
        for batch in self._batches(order) if self.outlines else ():
            cells = {e: [i for i, name in enumerate(self.cells) if name == e] for e in batch}
            wanted = [i for of in cells.values() for i in of]
            drawn = replicate_cells(
                [self.prepare(i) for i in wanted], self.tests.patients, self.tests.key, self.seed, self.replicates,
                told,
            )  # fmt: skip
            at = 0
            for encoder, mine in cells.items():
                yield encoder, self._of_encoder(encoder, mine, drawn[at : (at := at + len(mine))])

    def _batches(self, order: Sequence[str]) -> list[list[str]]:
        """As many encoders together as there is room for: the resamples of each batch are drawn again."""
        functions = sum(len(one.names) for one in self.outlines)
        each = functions * (PER_VALUE * len(self.tests.patients) + 8 * self.replicates)
        batches: list[list[str]] = []
        room = 0
        for encoder in order:
            needed = each * len(self.tests.rows[encoder])
            if not batches or needed > room:
                batches.append([])
                room = AT_ONCE
            batches[-1].append(encoder)
            room -= needed
        return batches

    def _of_encoder(self, encoder: str, mine: Sequence[int], drawn: Array) -> tuple[ByLabel, ...]:
        """``drawn`` [S, names of all metrics, B]."""
        ends = np.cumsum([0, *(len(one.names) for one in self.outlines)]).tolist()
        parts = some_at_once(ends[-1], drawn[:, 0].nbytes)
        variances = np.concatenate([drawn[:, part].var(axis=2).mean(0) for part in parts])
        return tuple(
            self._of_metric(encoder, one, mine, drawn[:, start:end], variances[start:end])
            for one, (start, end) in zip(self.outlines, pairwise(ends), strict=True)
        )

    def _of_metric(self, encoder: str, one: Outline, mine: Sequence[int], drawn: Array, variances: Array) -> ByLabel:
        """``drawn`` [S, names, B]; ``variances`` [names], mean over seeds."""
        of = one.with_groups(drawn.swapaxes(0, 1))
        by_fold = one.with_groups(np.mean([one.folds[i] for i in mine], axis=0)) if one.folds[mine[0]].size else {}
        df = _degrees(variances[: len(one.labels)], one.patients - 1, one.of_group, one.labels)
        return {
            name: Estimate(
                points=one.points_by_name[name][mine], replicates=of[name], seeds=self.tests.seeds[encoder],
                patients_df=df.get(name, self.tests.patient_count - 1.0), folds=by_fold.get(name, np.empty(0)),
            )
            for name in of
        }  # fmt: skip


def resampling(
    tests: TestSet, measures: Sequence[Measure], replicates: int, seed: int, entries: Entries = NO_ENTRIES
) -> Resampling:
    """Prepare metrics of a test set; those that do not belong to the task are left out.

    ``entries``: what is kept of it; cells that it knows are prepared only where replicates of them are asked for.
    """
    cells = [rows for seeds in tests.rows.values() for rows in seeds]

    def of(cell: int) -> OfCell:
        return OfCell.of(prepared(cells[cell], measures, tests.labels, tests.patients))

    functions = len(measures) * len(tests.labels)
    if len(cells) * functions * PER_VALUE * len(tests.patients) < AT_ONCE:
        of = cache(of)  # else they are prepared twice: for the values, and again for the replicates
    contents = tuple(content(rows, tests) for rows in cells) if entries.name else ("",) * len(cells)

    ones = Weights.of(np.ones((len(tests.patients), 1), dtype=np.uint16))

    def at(cell: int) -> list[Points]:
        name = key("cell", contents[cell])
        if known := entries.get(name):
            return [Points.of(facts) for facts in known[0]]
        by_chance = [one.by_chance(cells[cell], tests.labels) if one.by_chance else {} for one in measures]
        found = of(cell).points(ones, by_chance)
        entries.add(name, [one.facts() for one in found], np.empty(0))
        return found

    at_points = [at(i) for i in range(len(cells))]
    found = [outline(tests, measure, [one[k] for one in at_points]) for k, measure in enumerate(measures)]
    belong = [(k, one) for k, one in enumerate(found) if one is not None]

    def prepare(cell: int) -> Together:
        of_cell = of(cell)
        return of_cell.only([f for k, one in belong for f in one.functions(of_cell.metrics[k])])

    return Resampling(tests, tuple(one for _, one in belong), prepare, replicates, seed, contents)


def evaluate(
    tests: TestSet, measure: Measure, replicates: int, seed: int, told: Callable[[int], None] = unheard
) -> Evaluation:
    """Estimate a metric for each encoder, label and group on resamples that they all share.

    ``told``: how many more replicates of a cell are done.
    """
    found = resampling(tests, [measure], replicates, seed)
    if not found.outlines:
        return Evaluation({})
    (one,) = found.outlines
    estimates = {encoder: dict(by_label) for encoder, (by_label,) in found.estimates(tuple(tests.rows), told)}
    return Evaluation(estimates, one.undefined, one.rare, one.counted, one.tested)


def _degrees(
    variances: Array, df: Array, of_group: Mapping[str, NDArray[np.bool_]], labels: Sequence[str]
) -> dict[str, float]:
    """Degrees of freedom of each label and group: those of a mean are Satterthwaite's, of its labels' variances [L]."""
    df, known = np.maximum(df, 1.0), np.where(np.isnan(variances), 0.0, variances)
    found = dict(zip(labels, df.tolist(), strict=True))
    for name, at in of_group.items():
        of, total = known[at], float(known[at].sum())
        found[name] = total**2 / float((of**2 / df[at]).sum()) if total > 0 else 1.0
    return found
