"""Headline tables: which columns share one, encoders in their order, values with their places."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cxrbench.leaderboard.board import HEADLINE, Board, Column, Overall, Record
from cxrbench.leaderboard.cells import best_first, ranks
from cxrbench.leaderboard.families import FAMILIES, Family, named_protocol
from cxrbench.leaderboard.legend import Tests
from cxrbench.leaderboard.notes import Cells
from cxrbench.leaderboard.render import percent
from cxrbench.metrics.kinds import KINDS
from cxrbench.metrics.measure import Measure
from cxrbench.predictions import Kind


class RankedCell(NamedTuple):
    """A cell: what was measured, None where nothing was, and its place among those of its column."""

    record: Record | None
    place: int | None


@dataclass(frozen=True)
class HeadlineTable:
    """One metric of one protocol at one label fraction. ``rows``: by encoder, the best first, a cell for each column.

    ``means``: over the columns, with their places; empty where no mean is shown. ``over``: of those that have every
    column. ``lettered``: by column, whether letters stand in it, or dashes in their place. ``tests``: how many against
    the baseline.
    """

    title: str
    columns: tuple[Column, ...]
    rows: Mapping[str, tuple[RankedCell, ...]]
    means: Mapping[str, tuple[float, int | None]]
    over: Mapping[str, Overall]
    lettered: tuple[bool, ...]
    tests: Tests

    @property
    def metric(self) -> str:
        """The metric of all of its columns."""
        return self.columns[0].metrics[0]

    @property
    def measure(self) -> Measure:
        """The measure of all of its columns."""
        return measure_of(self.columns[0].kind, self.metric)

    @property
    def family(self) -> Family:
        """What its columns are of."""
        return FAMILIES[self.columns[0].kind]

    @property
    def detectable(self) -> tuple[float, ...]:
        """By column, the smallest difference that its tests find."""
        return tuple(column.detectable[self.metric] for column in self.columns)


def measure_of(kind: Kind, metric: str) -> Measure:
    """A metric of a kind of predictions."""
    return KINDS[kind].measures[metric]


def headline_cells(board: Board, synthetic: bool) -> Cells:
    """The headlines' records of the real or of the synthetic tasks, by task, metric and encoder."""
    return {(r.task, r.metric, r.encoder): r for r in board.records if r.label == HEADLINE and r.synthetic == synthetic}


def sorted_columns(board: Board, synthetic: bool) -> list[Column]:
    """The real or the synthetic columns in the order of their names."""
    columns = [c for c in board.columns if c.task.synthetic == synthetic]
    return sorted(columns, key=lambda c: (c.task.dataset, c.task.protocol, -c.task.fraction))


def families_of(columns: Sequence[Column]) -> dict[str, list[Column]]:
    """The columns that share a headline table but for the label fraction, by its title: one metric of one protocol.

    A mean over protocols would say nothing, and would leave out every encoder that cannot serve one of them.
    """
    found: dict[tuple[int, str, str], list[Column]] = {}
    for c in columns:
        found.setdefault((FAMILIES[c.kind].place, named_protocol(c.kind, c.task.protocol), c.metrics[0]), []).append(c)
    tables: dict[str, list[Column]] = {}
    for (_, named, metric), of_table in sorted(found.items(), key=lambda item: item[0]):
        title = measure_of(of_table[0].kind, metric).title
        tables[f"{named}: {title}{mean_over(of_table, [metric])}"] = of_table
    return tables


def mean_over(columns: Sequence[Column], metrics: Sequence[str]) -> str:
    """What values of these metrics are means over, if any is a mean."""
    measures = [measure_of(columns[0].kind, metric) for metric in metrics]
    means = any(len(c.labels) > 1 and one.has_mean(c.labels) for c in columns for one in measures)
    return f", mean over {FAMILIES[columns[0].kind].labels}" if means else ""


def headline_tables(board: Board, columns: Sequence[Column], cells: Cells) -> list[HeadlineTable]:
    """The headline tables of these columns (all real, or all synthetic), from the top."""
    fractions = {c.task.fraction for c in columns}
    found = []
    for title, of_table in families_of(columns).items():
        for fraction in sorted({c.task.fraction for c in of_table}, reverse=True):
            shown = [c for c in of_table if c.task.fraction == fraction]
            labels = "" if fractions == {1.0} else f", {percent(fraction)} of the training labels"
            task = shown[0].task
            over = board.overall.get((shown[0].metrics[0], task.protocol, fraction, task.synthetic), ())
            found.append(_table(title + labels, shown, cells, over))
    return found


def _table(title: str, columns: Sequence[Column], cells: Cells, over: Sequence[Overall]) -> HeadlineTable:
    """Encoders x tasks; the mean (if any) of those with every cell."""
    metric = columns[0].metrics[0]
    measure = measure_of(columns[0].kind, metric)
    tasks = {c.task for c in columns}
    asked = {e for task, m, e in cells if task in tasks and m == metric}
    asked |= {e for column in columns for e in column.not_applicable}
    rows = {e: [cells.get((c.task, metric, e)) for c in columns] for e in sorted(asked)}
    has_mean = measure.has_mean(label for c in columns for label in c.labels)
    means = {e: _mean(row) if has_mean else math.nan for e, row in rows.items()}
    places = [ranks({e: r.value for e, row in rows.items() if (r := row[i])}, measure) for i in range(len(columns))]
    of_means = ranks(means, measure)
    show_mean = len(columns) > 1 and has_mean
    records = [r for row in rows.values() for r in row if r]
    return HeadlineTable(
        title=title,
        columns=tuple(columns),
        rows={
            e: tuple(RankedCell(r, place.get(e)) for r, place in zip(rows[e], places, strict=True))
            for e in best_first(means, measure)
        },
        means={e: (mean, of_means.get(e)) for e, mean in means.items()} if show_mean else {},
        over={one.encoder: one for one in over},
        lettered=tuple(len(rows) > 1 or any(r and r.tie_group for r in of) for of in zip(*rows.values(), strict=True)),
        tests=Tests(sum(not math.isnan(r.p) for r in records), sum(not math.isnan(one.p) for one in over)),
    )


def _mean(row: Sequence[Record | None]) -> float:
    values = [r.value if r else math.nan for r in row]
    return sum(values) / len(values)
