"""Cost against quality: what an encoder takes, how good it is, and who is on the Pareto front."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cxrbench.leaderboard.board import NAN, Board, Table
from cxrbench.leaderboard.pictures.about import About, about
from cxrbench.leaderboard.pictures.forest import ForestColumn, forest

COSTS = {
    "gflops_per_image": ("GFLOPs per image", True),
    "parameters": ("Parameters", True),
    "images_per_second": ("Images per second", False),
    "pretraining_gpu_hours": ("GPU hours of pretraining", True),
    "pretraining_cpu_hours": ("CPU hours of pretraining", True),
}
"""By the quantity's name in ``Board.efficiency``: its title, and whether less of it is better."""


@dataclass(frozen=True)
class CostAxis:
    """One quantity of the ``encoders`` of its column, NaN where it is unknown; it may be 0 (``pixels``).

    ``less``: less of it is better. ``front``: who is on the Pareto front: nobody is better in one of quality and cost
    and at least as good in the other, among those of whom both are known. Intervals play no part in it.
    """

    name: str
    title: str
    less: bool
    cost: tuple[float, ...]
    front: tuple[bool, ...]


@dataclass(frozen=True)
class CostColumn:
    """Quality in one column (``task``: ``DATASET:PROTOCOL``, "" of the mean over all) and what it costs.

    ``value``, ``lower``, ``upper``: with 95% intervals, the best first. ``axes``: quantities that are known of two
    encoders or more.
    """

    task: str
    encoders: tuple[str, ...]
    value: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    axes: tuple[CostAxis, ...]


@dataclass(frozen=True)
class Costs:
    """A table's quality against cost; ``columns``: the mean over all columns first, where there is one.

    ``devices``: on which device and in which precision each speed was measured, one text per encoder of which it is
    known: only speeds of one device can be compared.
    """

    about: About
    columns: tuple[CostColumn, ...]
    devices: tuple[tuple[str, str], ...]


def costs(board: Board, table: Table) -> Costs | None:
    """The costs of a table (one of ``about.tables_of(board)``); None where nothing is known of any two encoders."""
    of = forest(board, table)
    columns = [_column(one, board.efficiency, of.about.higher) for one in (of.mean, *of.columns) if one]
    columns = [one for one in columns if one.axes]
    if not columns:
        return None
    devices = [
        (e, ", ".join(str(facts[x]) for x in ("device", "precision") if facts.get(x)))
        for e, facts in sorted(board.efficiency.items())
        if _number(facts.get("images_per_second")) > 0
    ]
    return Costs(about(board, table), tuple(columns), tuple(devices))


def pareto(values: Sequence[float], costs: Sequence[float], *, higher: bool, less: bool) -> tuple[bool, ...]:
    """Who is on the front. ``higher``: more of the values is better; ``less``: less of the costs is."""
    good = [(v if higher else -v, -c if less else c) for v, c in zip(values, costs, strict=True)]

    def beaten(a: tuple[float, float]) -> bool:
        return any(b != a and b[0] >= a[0] and b[1] >= a[1] for b in good)  # NaN compares false

    return tuple(not math.isnan(a[0]) and not math.isnan(a[1]) and not beaten(a) for a in good)


def _column(one: ForestColumn, efficiency: Mapping[str, Mapping[str, Any]], higher: bool) -> CostColumn:
    axes = []
    for name, (title, less) in COSTS.items():
        cost = tuple(_number(efficiency.get(e, {}).get(name)) for e in one.encoders)
        known = sum(not math.isnan(c) and not math.isnan(v) for c, v in zip(cost, one.value, strict=True))
        if known > 1:
            axes.append(CostAxis(name, title, less, cost, pareto(one.value, cost, higher=higher, less=less)))
    return CostColumn(one.task, one.encoders, one.value, one.lower, one.upper, tuple(axes))


def _number(value: Any) -> float:
    """A cost; NaN of what is none: it is a finite number, and not below 0."""
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf
    return float(value) if known else NAN
