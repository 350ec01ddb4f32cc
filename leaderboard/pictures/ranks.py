"""The critical-difference line: mean ranks over a table's columns, and bars over encoders that no test separates."""

from dataclasses import dataclass

import numpy as np

from cxrbench.leaderboard.board import Board, Table
from cxrbench.leaderboard.pictures.about import About, about, columns_of
from cxrbench.leaderboard.pictures.matrix import in_order
from cxrbench.leaderboard.statistics.significance import ALPHA, Array, unseparated


@dataclass(frozen=True)
class Ranks:
    """The encoders that have every column, the best mean rank first.

    ``rank``: mean over the ``columns``, 1 is best, with its 95% percentile interval over resampled patients.
    ``value``, ``lower``, ``upper``: the mean of the metric with its 95% interval; ``best``: in which share of the
    resamples its mean is the best. ``bars``: places in ``encoders``, rising. A bar joins all encoders of one letter:
    no two of them are separated by a paired two-sided test of their means (Holm over all pairs, ``alpha``), and every
    pair that no test separates shares a bar. Tests are of means, the line shows ranks: so a bar may pass over an
    encoder that is not in it. Encoders that could not be tested are in no bar.
    """

    about: About
    columns: tuple[str, ...]
    encoders: tuple[str, ...]
    rank: tuple[float, ...]
    rank_lower: tuple[float, ...]
    rank_upper: tuple[float, ...]
    value: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    best: tuple[float, ...]
    bars: tuple[tuple[int, ...], ...]
    alpha: float


def ranks_over(board: Board, table: Table) -> Ranks | None:
    """The ranks over a table's columns; None where the board says nothing over all of them (one column, or one
    encoder that has all; metrics behind the headline).
    """
    over = sorted(board.overall.get(table, ()), key=lambda one: (one.rank, one.encoder))
    if not over:
        return None
    about_it = about(board, table)
    p = in_order([one.encoder for one in over], {(a.encoder, b): p for a in over for b, p in a.apart.items()})
    return Ranks(
        about=about_it,
        columns=tuple(c.task.title for c in columns_of(board, table)),
        encoders=tuple(one.encoder for one in over),
        rank=tuple(one.rank for one in over),
        rank_lower=tuple(one.rank_lower for one in over),
        rank_upper=tuple(one.rank_upper for one in over),
        value=tuple(one.value for one in over),
        lower=tuple(one.lower for one in over),
        upper=tuple(one.upper for one in over),
        best=tuple(one.best for one in over),
        bars=_bars(np.array([one.value for one in over]) * (1 if about_it.higher else -1), np.array(p)),
        alpha=ALPHA,
    )


def _bars(values: Array, p: Array) -> tuple[tuple[int, ...], ...]:
    """Groups of two or more of k encoders, from their values [k], more is better, and p [k (k - 1) / 2]."""
    k = len(values)
    square = np.ones((k, k))
    square[np.triu_indices(k, 1)] = square.T[np.triu_indices(k, 1)] = p
    known = np.flatnonzero(~np.isnan(square).any(1))
    groups = unseparated(values[known].tolist(), square[np.ix_(known, known)] < ALPHA)
    return tuple(tuple(sorted(known[list(group)].tolist())) for group in groups if len(group) > 1)
