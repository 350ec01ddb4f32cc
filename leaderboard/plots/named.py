"""The pictures by name, and which of a board's tables each is drawn of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from cxrbench.errors import UserError
from cxrbench.leaderboard.board import HEADLINE, Board, Table
from cxrbench.leaderboard.pictures.about import about, tables_of
from cxrbench.leaderboard.pictures.cost import costs
from cxrbench.leaderboard.pictures.curves import CurvesOfTask
from cxrbench.leaderboard.pictures.forest import forest
from cxrbench.leaderboard.pictures.fractions import label_efficiency
from cxrbench.leaderboard.pictures.groups import Groups
from cxrbench.leaderboard.pictures.labels import LabelMaps, labels_of
from cxrbench.leaderboard.pictures.matrix import matrix
from cxrbench.leaderboard.pictures.ranks import ranks_over
from cxrbench.leaderboard.pictures.reliability import ReliabilityOfTask
from cxrbench.leaderboard.plots import cost, curves, fractions, groups, labels, radar, ranks, reliability
from cxrbench.leaderboard.plots import forest as forest_plot
from cxrbench.leaderboard.plots import matrix as matrix_plot
from cxrbench.leaderboard.plots.frame import PlotLook, headed
from cxrbench.leaderboard.render import percent

Source = Literal["board", "cells", "groups"]
"""What a picture is made from: a board, single images' scores, or a board within groups of patients."""


@dataclass(frozen=True)
class Drawing:
    """A picture that waits for its look; ``left_out``: what of the same kind is not on it, in words."""

    title: str
    figure: Callable[[PlotLook], Any]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class PictureName:
    """A picture that can be asked for: its name, in a line what it shows, and what it is made from."""

    name: str
    summary: str
    source: Source = "board"


PICTURES = (
    PictureName("forest", "values with 95% intervals, a panel per data set, the baseline as a line"),
    PictureName("matrix", "of each pair of encoders the difference, and whether a test separates them"),
    PictureName("ranks", "critical difference: mean ranks, and bars over encoders that no test separates"),
    PictureName("labels", "heat map of encoders by labels"),
    PictureName("radar", "a ring per encoder over the labels of a task"),
    PictureName("fractions", "label efficiency: the metric against the share of the training labels, with bands"),
    PictureName("reliability", "what the scores said against what was so, a panel per encoder", "cells"),
    PictureName("roc", "ROC curves, mean over labels or of one label", "cells"),
    PictureName("pr", "precision-recall curves, mean over labels or of one label", "cells"),
    PictureName("cost", "quality against GFLOPs, parameters, images per second, GPU hours; the Pareto front"),
    PictureName("groups", "subgroup gaps: each encoder within groups of patients (--by)", "groups"),
)
NOTHING = {
    "ranks": "it needs two data sets or more that two encoders or more have all of",
    "labels": "no task has two labels or more",
    "radar": "no task has two labels or more",
    "cost": "what it costs is known of no two encoders",
}


def of_board(name: str, board: Board, fraction: float | None) -> Drawing:
    """A picture of a board's first table that has it: real before synthetic, headline first, the largest fraction.

    ``fraction``: of the training labels instead. Raises UserError where no table has it.
    """
    if name == "fractions":
        return _efficiency(board)
    makers: Mapping[str, tuple[Callable[[Board, Table], Any], Callable[[Any, PlotLook], Any]]] = {
        "forest": (forest, forest_plot.draw), "matrix": (matrix, matrix_plot.draw), "ranks": (ranks_over, ranks.draw),
        "labels": (_labelled, labels.draw), "radar": (_labelled, radar.draw), "cost": (costs, cost.draw),
    }  # fmt: skip
    make, draw = makers[name]
    tables = _largest_first(tables_of(board), fraction)
    for table in tables:
        if (picture := make(board, table)) is not None:
            others = tuple(_called(board, other) for other in tables if other != table)
            return Drawing(headed(about(board, table)), partial(draw, picture), others)
    raise UserError(f"these results have no picture {name}: {NOTHING[name]}")


def of_curves(found: Sequence[CurvesOfTask], label: str, fraction: float | None) -> Drawing:
    """ROC or precision-recall curves of all tasks of the first protocol, at the largest fraction. Raises UserError."""
    label = label or HEADLINE
    having = [task for task in found if any(curve.label == label for curve in task.curves)]
    if not having:
        there = ", ".join(sorted({x for task in found for x in task.labels}))
        raise UserError(f"--label {label}: no task has curves of it; there are {there or 'none: no classification'}")
    chosen = _first(having, fraction)
    shown = tuple(task for task in having if _place(task) == _place(chosen))
    others = tuple(_task_called(task) for task in having if task not in shown)
    return Drawing(
        f"{curves.TITLES[chosen.kind]} · {chosen.protocol}", lambda look: curves.draw(shown, label, look), others
    )


def of_reliability(found: Sequence[ReliabilityOfTask], label: str, fraction: float | None) -> Drawing:
    """The diagrams of the first task that has the label (of all labels pooled without one). Raises UserError."""
    having = [task for task in found if any(panel.label == label for panel in task.panels)]
    if not having:
        there = ", ".join(sorted({x for task in found for x in task.labels}))
        raise UserError(f"--label {label}: no task has it; there are {there or 'none: no classification'}")
    task = _first(having, fraction)
    others = tuple(_task_called(other) for other in having if other != task)
    return Drawing(f"Reliability · {task.task}", lambda look: reliability.draw(task, label, look), others)


def of_groups(found: Sequence[Groups], fraction: float | None) -> Drawing:
    """The gaps of the first table, at the largest fraction."""
    at = [one for one in found if fraction is None or one.about.fraction == fraction]
    if not at:
        raise UserError(f"--fraction {fraction:g}: no results at this label fraction")
    first = max(
        at, key=lambda one: (not one.about.synthetic, one.about.metric == at[0].about.metric, one.about.fraction)
    )
    others = tuple(headed(one.about) for one in found if one != first)
    return Drawing(headed(first.about), lambda look: groups.draw(first, look), others)


def shown_alone(board: Board, encoders: Sequence[str]) -> Board:
    """The board with these encoders alone (all, without any); tests stay those among all. Raises UserError."""
    if not encoders:
        return board
    there = {r.encoder for r in board.records}
    if missing := [name for name in encoders if name not in there]:
        raise UserError(f"--encoders {missing[0]}: the results have {', '.join(sorted(there))}")
    return replace(
        board,
        records=tuple(r for r in board.records if r.encoder in encoders),
        overall={table: tuple(one for one in of if one.encoder in encoders) for table, of in board.overall.items()},
    )


def _efficiency(board: Board) -> Drawing:
    found = label_efficiency(board)
    if not found:
        raise UserError("these results have no picture fractions: run with --fractions 0.01,0.1,1")
    others = tuple(headed(one.about) for one in found[1:])
    return Drawing(headed(found[0].about), lambda look: fractions.draw(found[0], look), others)


def _labelled(board: Board, table: Table) -> LabelMaps | None:
    found = labels_of(board, table)
    return found if found.tasks else None


def _largest_first(tables: Sequence[Table], fraction: float | None) -> list[Table]:
    """Tables of a metric and protocol at the largest fraction first. Raises UserError for a fraction without any."""
    if fraction is not None:
        at = [table for table in tables if table[2] == fraction]
        if not at:
            there = ", ".join(f"{one:g}" for one in sorted({table[2] for table in tables}))
            raise UserError(f"--fraction {fraction:g}: the results have {there}")
        return at
    order = list(dict.fromkeys((synthetic, protocol, metric) for metric, protocol, _, synthetic in tables))
    return sorted(tables, key=lambda table: (order.index((table[3], table[1], table[0])), -table[2]))


def _called(board: Board, table: Table) -> str:
    return headed(about(board, table)) + " (synthetic)" * table[3]


def _first(tasks: Sequence[Any], fraction: float | None) -> Any:
    """Real before synthetic, the largest fraction (or the one that is wanted) of the first task's protocol."""
    at = [task for task in tasks if fraction is None or task.fraction == fraction]
    if not at:
        raise UserError(f"--fraction {fraction:g}: no such results")
    first = min(at, key=lambda task: task.synthetic)
    same = [t for t in at if (t.task, t.protocol, t.synthetic) == (first.task, first.protocol, first.synthetic)]
    return max(same, key=lambda task: task.fraction)


def _place(task: Any) -> tuple[str, float, bool]:
    return task.protocol, task.fraction, task.synthetic


def _task_called(task: Any) -> str:
    return f"{task.task} @ {percent(task.fraction)}" if task.fraction != 1 else str(task.task)
