"""The significance matrix: of each pair of encoders how far they lie apart, and whether a test separates them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from cxrbench.leaderboard.board import NAN, Board, Table
from cxrbench.leaderboard.cells import best_first
from cxrbench.leaderboard.pictures.about import About, about, columns_of, headlines_of, measure_of
from cxrbench.leaderboard.statistics.significance import ALPHA


@dataclass(frozen=True)
class MatrixColumn:
    """One column's pairs. ``task``: ``DATASET:PROTOCOL``, "" of the mean over all columns.

    ``encoders`` [k], the best first, and their ``value`` [k]. ``p`` [k (k - 1) / 2]: two-sided p of the difference,
    Holm over all pairs of the table (of the means: over all pairs of means), NaN where no test was made. Its order is
    that of ``itertools.combinations(encoders, 2)``, which is scipy's of condensed matrices.
    """

    task: str
    encoders: tuple[str, ...]
    value: tuple[float, ...]
    p: tuple[float, ...]


@dataclass(frozen=True)
class Matrix:
    """A table's columns, and the means over them where they are tested. ``alpha``: below it a pair is separated."""

    about: About
    columns: tuple[MatrixColumn, ...]
    mean: MatrixColumn | None
    alpha: float


def matrix(board: Board, table: Table) -> Matrix:
    """The pairs of a table (one of ``about.tables_of(board)``)."""
    headlines = headlines_of(board, table)
    columns = []
    for column in columns_of(board, table):
        of = headlines[column.task]
        p = in_order([*of], column.apart.get(table[0], {}))
        columns.append(MatrixColumn(column.task.title, tuple(of), tuple(r.value for r in of.values()), p))
    mean = None
    if over := board.overall.get(table, ()):
        values = {one.encoder: one.value for one in over}
        order = best_first(values, measure_of(board, table))
        apart = {(one.encoder, other): p for one in over for other, p in one.apart.items()}
        mean = MatrixColumn("", tuple(order), tuple(values[e] for e in order), in_order(order, apart))
    return Matrix(about(board, table), tuple(columns), mean, ALPHA)


def in_order(encoders: Sequence[str], apart: Mapping[tuple[str, str], float]) -> tuple[float, ...]:
    """The p of each pair of ``encoders`` in ``combinations``' order, whichever of the two stands first in ``apart``."""
    return tuple(apart.get((a, b), apart.get((b, a), NAN)) for a, b in combinations(encoders, 2))
