"""Who is better than one encoder: a mark for every label and metric of every column (RadJEPA, Table 6)."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cxrbench.errors import UserError
from cxrbench.leaderboard.board import HEADLINE, Board, Column, Record
from cxrbench.leaderboard.render import task_title
from cxrbench.leaderboard.shown.by_label import ALL, chosen
from cxrbench.leaderboard.shown.headline import measure_of, sorted_columns
from cxrbench.leaderboard.statistics.alignment import AlignedTask
from cxrbench.leaderboard.statistics.significance import ALPHA, holm

Mark = Literal["better", "above", "below", "worse", "untested", ""]
"""Better or worse beyond chance; above or below, but not separated; a value that is not tested; no such value."""

OfEncoder = Mapping[tuple[AlignedTask, str, str], Record]
"""An encoder's records by task, metric and label."""


@dataclass(frozen=True)
class MarkGrid:
    """One encoder against another, on real or on synthetic data. ``columns``: their headings; ``rows``: labels, then
    metrics, a mark for each column; ``undefined``: those without a value in any.
    """

    encoder: str
    against: str
    synthetic: bool
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[Mark, ...]]
    undefined: tuple[str, ...]

    @property
    def counts(self) -> Mapping[str, int]:
        """How many cells have each mark."""
        return Counter(mark for row in self.rows.values() for mark in row)


def mark_grids(board: Board, labels: Sequence[str] = ()) -> list[MarkGrid]:
    """A grid for each encoder but the baseline, best known first by name; ``labels``: as of ``Look`` (default: all).

    Raises UserError for a board without a baseline, and where nobody is left to be tested against it.
    """
    if board.baseline is None:
        raise UserError(f"a grid needs {_one(board)} that the others are tested against: --against NAME")
    worse = worse_than_baseline(board.records)
    found = []
    for synthetic in (False, True):
        columns = sorted_columns(board, synthetic)
        records = {(r.encoder, r.task, r.metric, r.label): r for r in board.records if r.synthetic == synthetic}
        for encoder in sorted({key[0] for key in records} - {board.baseline}):
            of: OfEncoder = {key[1:]: r for key, r in records.items() if key[0] == encoder}
            rows: dict[str, tuple[Mark, ...]] = {
                name: tuple(
                    _mark(of.get((c.task, *key)) if key else None, worse) for c, key in zip(columns, keys, strict=True)
                )
                for name, keys in _rows(columns, of, labels or (ALL,)).items()
            }
            heads = tuple(_heading(c, of) for c in columns)
            undefined = tuple(name for name, row in rows.items() if not any(row))
            rows = {name: row for name, row in rows.items() if any(row)}
            found.append(MarkGrid(encoder, board.baseline, synthetic, heads, rows, undefined))
    if not found:
        raise UserError(
            f"{board.baseline} is the only {board.row} of these results: there is nobody to test against it"
        )
    return found


def worse_than_baseline(records: Sequence[Record]) -> dict[Record, float]:
    """The one-tailed p of being worse than the baseline, Holm over the same families as that of being better.

    Student's t is symmetric, so the p of whoever lies below is one less that of being better.
    """
    families: dict[tuple[object, ...], list[Record]] = {}
    for r in records:
        task = r.task
        table = (r.metric, task.protocol, task.fraction, task.synthetic)
        families.setdefault(table if r.label == HEADLINE else (r.metric, task), []).append(r)
    return {
        r: p
        for family in families.values()
        for r, p in zip(family, holm([_below(r) for r in family]), strict=True)
    }  # fmt: skip


def _below(r: Record) -> float:
    """Before correction; 1 where nothing lies below the baseline, NaN where nothing was tested."""
    return r.p if math.isnan(r.p) else 1 - r.p if r.gain < 0 else 1.0


def _rows(
    columns: Sequence[Column], records: OfEncoder, labels: Sequence[str]
) -> dict[str, list[tuple[str, str] | None]]:
    """By name of the row the metric and label of each column, None where it has none of them: labels, then metrics."""
    rows: dict[str, list[tuple[str, str] | None]] = {}
    for i, column in enumerate(columns):
        for label in _labels(column, records, labels):
            rows.setdefault(label, [None] * len(columns))[i] = (column.metrics[0], label)
    metrics: dict[str, list[tuple[str, str] | None]] = {}
    for i, column in enumerate(columns):
        for measure in (measure_of(column.kind, metric) for metric in column.metrics):
            if measure.tested:
                metrics.setdefault(measure.title, [None] * len(columns))[i] = (measure.name, HEADLINE)
    twice = {name: f"{name} (metric)" for name in rows if name in metrics}
    return rows | {twice.get(name, name): row for name, row in metrics.items()}


def _labels(column: Column, records: OfEncoder, labels: Sequence[str]) -> list[str]:
    """The labels of a column that has several: the only one of a column is its headline."""
    of = [r for (task, metric, _), r in records.items() if task == column.task and metric == column.metrics[0]]
    known = [r for r in of if r.positives is not None and r.label != HEADLINE]
    return chosen(known, labels) if len(known) > 1 else []


def _heading(column: Column, records: OfEncoder) -> str:
    """The task; of several labels with the metric that their rows are of."""
    title = task_title(column.task)
    several = len(_labels(column, records, (ALL,))) > 1
    return f"{title} ({measure_of(column.kind, column.metrics[0]).title})" if several else title


def _mark(r: Record | None, worse: Mapping[Record, float]) -> Mark:
    if r is None or math.isnan(r.value):
        return ""
    if math.isnan(r.p):
        return "untested"
    if r.p_holm < ALPHA:
        return "better"
    if worse[r] < ALPHA:
        return "worse"
    return "above" if r.gain > 0 else "below"


def _one(board: Board) -> str:
    return "a protocol" if board.encoder else "an encoder"
