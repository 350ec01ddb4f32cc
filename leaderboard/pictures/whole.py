"""Every picture that a board and its cells have, for a page that shows them all, and small enough to be sent."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from cxrbench.leaderboard.board import Board, Record, Table
from cxrbench.leaderboard.calibration.variants import variants
from cxrbench.leaderboard.currency import current
from cxrbench.leaderboard.families import CLASSIFICATION, FAMILIES
from cxrbench.leaderboard.pictures.about import columns_of, tables_of
from cxrbench.leaderboard.pictures.cost import costs
from cxrbench.leaderboard.pictures.curves import Curve, CurveKind, CurvesOfTask, curves
from cxrbench.leaderboard.pictures.forest import forest
from cxrbench.leaderboard.pictures.fractions import label_efficiency
from cxrbench.leaderboard.pictures.groups import groups_of
from cxrbench.leaderboard.pictures.labels import labels_of
from cxrbench.leaderboard.pictures.matrix import matrix
from cxrbench.leaderboard.pictures.plain import numbers
from cxrbench.leaderboard.pictures.polylines import Polyline, thinned
from cxrbench.leaderboard.pictures.ranks import ranks_over
from cxrbench.leaderboard.pictures.reliability import ReliabilityPanel, reliability
from cxrbench.leaderboard.statistics.alignment import TestSet, align, by_task
from cxrbench.leaderboard.subgroups.evaluate import ByGroup
from cxrbench.predictions import Predictions

MOST = 120_000
"""Numbers of one picture in a page, of some seven characters each."""
FINE, COARSE = 1.5e-3, 4e-3
"""``curves`` leave out points this near: half a pixel of a picture that is 350 wide; of many curves one or two."""
NOTES = "notes"
ONLY_HEADLINES = "of the headline metrics alone: with all metrics the page would be too large"
ONLY_POOLED = "of all labels together: with every label by itself the page would be too large"
T = TypeVar("T")


def of_page(
    board: Board, predictions: Sequence[Predictions], grouped: Sequence[ByGroup], names: Mapping[str, str]
) -> dict[str, Any]:
    """By the picture's name its dataclasses, and under ``notes`` by name what was left out of it, and why.

    ``board``: its encoders by their shown names, which ``names`` has by their whole ones (of ``predictions`` and
    ``grouped``). Only tasks that the board has are drawn. A picture of which nothing is there is left out.
    """
    notes: dict[str, str] = {}
    of_tables = by_table(board)
    headlines = tables_of(board, headlines_only=True)

    def each(name: str, draw: Callable[[Board, Table], T | None]) -> tuple[T, ...]:
        first = _drawn(draw, {table: of_tables[table] for table in headlines})
        if numbers(first) * len(of_tables) > MOST * len(headlines):
            notes[name] = ONLY_HEADLINES
            return first
        return _drawn(draw, of_tables)

    found: dict[str, Any] = {
        "forest": each("forest", forest),
        "matrix": each("matrix", matrix),
        "ranks": each("ranks", ranks_over),
        "labels": tuple(one for one in each("labels", labels_of) if one.tasks),
        "cost": each("cost", costs),
    }
    efficiency = label_efficiency(board)
    if numbers(efficiency) > MOST:
        efficiency, notes["fractions"] = label_efficiency(board, headlines_only=True), ONLY_HEADLINES
    found["fractions"] = efficiency
    of_cells, left_out = _of_cells(board, predictions, names)
    found |= of_cells
    found["groups"] = tuple(one for of in grouped for one in groups_of(_called(of, names)))
    return {name: of for name, of in found.items() if of} | {NOTES: notes | left_out}


def by_table(board: Board) -> dict[Table, Board]:
    """For each table the board with its records and columns alone, so that no picture looks through all of them."""
    records: dict[Table, list[Record]] = {table: [] for table in tables_of(board)}
    for r in board.records:
        records[r.metric, r.protocol, r.fraction, r.synthetic].append(r)
    return {table: replace(board, records=tuple(of), columns=columns_of(board, table)) for table, of in records.items()}


def _drawn(draw: Callable[[Board, Table], T | None], boards: Mapping[Table, Board]) -> tuple[T, ...]:
    pictures = (draw(board, table) for table, board in boards.items())
    return tuple(one for one in pictures if one is not None)


def _of_cells(
    board: Board, predictions: Sequence[Predictions], names: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Pictures of single images' scores: of the classification tasks that the board has; and what was left out."""
    there = {c.task for c in board.columns}
    cells = [
        replace(one, cell={**one.cell, "encoder": names.get(str(one.cell["encoder"]), str(one.cell["encoder"]))})
        for one in current(predictions).predictions
        if FAMILIES[one.kind] is CLASSIFICATION and len(one.rows)
    ]
    of_tasks = {task: of for task, of in by_task(cells).items() if task in there}
    if not of_tasks:
        return {}, {}
    tests = [align(task, of) for task, of in of_tasks.items()]
    found: dict[str, Any] = {}
    notes: dict[str, str] = {}
    kinds: tuple[CurveKind, ...] = ("roc", "pr")
    for kind in kinds:
        drawn, notes[kind] = _curves(tests, kind)
        coarser = 2 * COARSE if numbers(drawn) > MOST else 0.0
        found[kind] = tuple(replace(of, curves=tuple(_short(one, coarser) for one in of.curves)) for of in drawn)
    given = variants([one for of in of_tasks.values() for one in of], methods=())
    panels = sum(len(one.named) * (1 + len(one.tests.labels)) for one in given)
    by_label = panels * 85 <= MOST  # 15 bins of four numbers, 20 counts, the rest
    found["reliability"] = tuple(
        replace(of, panels=tuple(map(_short_panel, of.panels))) for of in reliability(given, by_label=by_label)
    )
    notes["reliability"] = "" if by_label else ONLY_POOLED
    return found, {name: note for name, note in notes.items() if note}


def _curves(tests: Sequence[TestSet], kind: CurveKind) -> tuple[tuple[CurvesOfTask, ...], str]:
    """As fine, and of as many labels, as there is room for; and what was left out."""
    for tolerance in (FINE, COARSE):
        size, found = 0, []
        for of in tests:
            found.append(curves(of, kind, tolerance=tolerance))
            size += numbers(found[-1])
            if size > MOST:
                break
        if size <= MOST:
            return tuple(one for one in found if one), ""
    means = (curves(of, kind, labels=(), tolerance=COARSE) for of in tests)
    return tuple(one for one in means if one), ONLY_POOLED


def _short(one: Curve, tolerance: float) -> Curve:
    """Without more points, if the tolerance is above 0; coordinates as ``_thousandths``."""
    few = thinned(Polyline(np.array(one.x), np.array(one.y)), tolerance) if tolerance else one
    return replace(one, x=_thousandths(few.x), y=_thousandths(few.y))


def _short_panel(one: ReliabilityPanel) -> ReliabilityPanel:
    return replace(
        one, said=_thousandths(one.said), observed=_thousandths(one.observed), lower=_thousandths(one.lower),
        upper=_thousandths(one.upper),
    )  # fmt: skip


def _thousandths(values: Iterable[float]) -> tuple[float, ...]:
    """As they are printed; half a pixel of the largest square that a page draws."""
    return tuple(round(float(v), 3) for v in values)


def _called(of: ByGroup, names: Mapping[str, str]) -> ByGroup:
    """With its encoders by their shown names."""
    records = tuple(
        replace(r, encoder=names.get(r.encoder, r.encoder), baseline=names.get(r.baseline, r.baseline))
        for r in of.records
    )
    return replace(of, records=records, baseline=names.get(of.baseline or "", of.baseline))
