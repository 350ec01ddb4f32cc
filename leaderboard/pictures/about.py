"""What a picture is of: one metric of one protocol and label fraction, with the columns and encoders that it shows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cxrbench.leaderboard.board import HEADLINE, Board, Column, Record, Table
from cxrbench.leaderboard.cells import best_first
from cxrbench.leaderboard.statistics.alignment import AlignedTask
from cxrbench.metrics.kinds import KINDS
from cxrbench.metrics.measure import Measure


@dataclass(frozen=True)
class About:
    """The table that a picture is of.

    ``metric`` is called ``title`` for readers; ``higher``: more of it is better; ``share``: it lies in [0, 1];
    ``tested``: better values are tested. ``protocol`` is empty where protocols of one encoder are compared, which then
    stand where encoders stand (``row`` says which of the two); ``fraction``: of the training labels. ``baseline``: ""
    if there is none.
    """

    metric: str
    title: str
    protocol: str
    fraction: float
    synthetic: bool
    higher: bool
    share: bool
    tested: bool
    baseline: str
    row: str


def tables_of(board: Board, *, headlines_only: bool = False) -> tuple[Table, ...]:
    """Every metric of every protocol and label fraction, real before synthetic, in the order of the columns.

    ``headlines_only``: without a column's further metrics.
    """
    columns = sorted(board.columns, key=lambda c: c.task.synthetic)
    return tuple(
        dict.fromkeys(
            (metric, c.task.protocol, c.task.fraction, c.task.synthetic)
            for c in columns
            for metric in (c.metrics[:1] if headlines_only else c.metrics)
        )
    )


def columns_of(board: Board, table: Table) -> tuple[Column, ...]:
    """The columns of a table, by data set."""
    metric, *task = table
    here = [
        c for c in board.columns if [c.task.protocol, c.task.fraction, c.task.synthetic] == task and metric in c.metrics
    ]
    return tuple(sorted(here, key=lambda c: c.task.dataset))


def measure_of(board: Board, table: Table) -> Measure:
    """The table's metric."""
    return KINDS[columns_of(board, table)[0].kind].measures[table[0]]


def about(board: Board, table: Table) -> About:
    """What a reader must know of a table to read a picture of it."""
    measure = measure_of(board, table)
    return About(
        metric=measure.name, title=measure.title, protocol=table[1], fraction=table[2], synthetic=table[3],
        higher=measure.higher_is_better, share=measure.share, tested=measure.tested, baseline=board.baseline or "",
        row=board.row,
    )  # fmt: skip


ByTask = dict[AlignedTask, dict[tuple[str, str], Record]]


def records_of(board: Board, metric: str) -> ByTask:
    """A metric's records: by task, then by encoder and label."""
    found: ByTask = {}
    for r in board.records:
        if r.metric == metric:
            found.setdefault(r.task, {})[r.encoder, r.label] = r
    return found


def headlines_of(board: Board, table: Table) -> dict[AlignedTask, dict[str, Record]]:
    """A table's headlines: by column, then by encoder, the best first and those without a value last."""
    of_metric = records_of(board, table[0])
    measure = measure_of(board, table)
    found: dict[AlignedTask, dict[str, Record]] = {}
    for column in columns_of(board, table):
        here = {e: r for (e, label), r in of_metric.get(column.task, {}).items() if label == HEADLINE}
        found[column.task] = {e: here[e] for e in best_first({e: r.value for e, r in here.items()}, measure)}
    return found


def mean_of(values: Sequence[float]) -> float:
    """The mean; NaN of nothing, and where one of them is NaN."""
    return sum(values) / len(values) if values else math.nan
