"""Tables of a task's labels, as many as were asked for, by encoders: its headline metric."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cxrbench.errors import UserError
from cxrbench.leaderboard.board import HEADLINE, Board, Column, Record
from cxrbench.leaderboard.cells import best_first, ranks
from cxrbench.leaderboard.render import task_title
from cxrbench.leaderboard.shown.headline import RankedCell, measure_of
from cxrbench.leaderboard.statistics.alignment import AlignedTask

ALL, TOP = "all", "top:"


@dataclass(frozen=True)
class LabelTable:
    """``rows``: by label, a cell for each of the ``encoders``, the best headline first. ``counts``: by label, with how
    many positives among how many images; of numbers, how many images. ``tests``: of the labels, shown or not.
    """

    column: Column
    encoders: tuple[str, ...]
    rows: Mapping[str, tuple[RankedCell, ...]]
    counts: Mapping[str, str]
    tests: int

    @property
    def title(self) -> str:
        """The task and its headline metric."""
        measure = measure_of(self.column.kind, self.column.metrics[0])
        return f"{task_title(self.column.task)}: {measure.title} by label"

    @property
    def heading(self) -> str:
        """What is counted."""
        return "Images" if self.column.kind == "regression" else "Positives / images"


def check_labels(board: Board, labels: Sequence[str]) -> None:
    """Raise UserError for a label that no task of the board has, and for a number of labels that is none."""
    known = list(dict.fromkeys(r.label for r in board.records if r.positives is not None))
    for label in labels:
        if label.startswith(TOP) and label not in known:
            if not label.removeprefix(TOP).isdecimal() or int(label.removeprefix(TOP)) < 1:
                raise UserError(f"--labels {label}: give how many of the most frequent labels, e.g. top:5")
        elif label not in (ALL, *known):
            raise UserError(f"--labels {label}: the results have {', '.join(known)}")


def label_tables(board: Board, columns: Sequence[Column], labels: Sequence[str]) -> list[LabelTable]:
    """The tables of the columns that have any of the labels; none where no label is asked for."""
    if not labels:
        return []
    of_columns: dict[tuple[AlignedTask, str], dict[tuple[str, str], Record]] = {}
    for r in board.records:
        of_columns.setdefault((r.task, r.metric), {})[r.label, r.encoder] = r
    found = []
    for column in columns:
        records = of_columns.get((column.task, column.metrics[0]), {})
        if shown := chosen([r for r in records.values() if r.positives is not None], labels):
            found.append(_table(column, [*records.values()], shown))
    return found


def chosen(records: Sequence[Record], labels: Sequence[str]) -> list[str]:
    """Labels of the records, in their order: all, those that are named, or the K with the most positives."""
    positives = {r.label: r.positives or 0 for r in records}
    wanted = {label for label in labels if label in positives}
    for label in labels:
        if label == ALL:
            wanted |= set(positives)
        elif label.startswith(TOP) and label not in positives:
            most = sorted(positives, key=lambda name: -positives[name])
            wanted |= set(most[: int(label.removeprefix(TOP))])
    return [label for label in positives if label in wanted]


def _table(column: Column, records: Sequence[Record], labels: Sequence[str]) -> LabelTable:
    """Labels x encoders."""
    measure = measure_of(column.kind, column.metrics[0])
    shown = [r for r in records if r.label in (*labels, HEADLINE)]
    order = best_first({r.encoder: r.value for r in shown if r.label == HEADLINE}, measure)
    of_numbers = column.kind == "regression"  # an age of 5 is no positive
    rows, counts = {}, {}
    for label in labels:
        of = {r.encoder: r for r in shown if r.label == label}
        places = ranks({e: r.value for e, r in of.items()}, measure)
        rows[label] = tuple(RankedCell(of.get(e), places.get(e)) for e in order)
        first = next(iter(of.values()))
        counts[label] = f"{first.n:,}" if of_numbers else f"{first.positives or 0:,} / {first.n:,}"
    tests = sum(r.label != HEADLINE and not math.isnan(r.p) for r in records)
    return LabelTable(column, tuple(order), rows, counts, tests)
