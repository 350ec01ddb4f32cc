"""One label's rows in the order of their scores: what AUROC and average precision are made of, summed once for both."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array

from cxrbench.metrics.prepared import Array, Sums, Weights, running, sparse


@dataclass(frozen=True)
class RowSums:
    """Sums of consecutive runs of rows: the matrix [n, B] to [runs, B]."""

    picked: csc_array

    @staticmethod
    def at(rows: NDArray[np.int64], cuts: NDArray[np.int64], n: int) -> "RowSums":
        """Runs between the ``cuts`` (ascending positions in ``rows``): one before each cut and one after the last."""
        # a product with a sparse matrix adds rows up without a copy of them; column by column it reads them in order,
        # and what is written fits into a core's cache
        runs = np.repeat(np.arange(len(cuts) + 1), np.diff(cuts, prepend=0, append=len(rows)))
        return RowSums(sparse(np.ones(len(rows), np.float32), runs, rows, (len(cuts) + 1, n)))

    def __call__(self, matrix: Sums) -> Sums:
        """The sums."""
        return self.picked @ matrix


@dataclass(frozen=True)
class RankSums:
    """Weights by score, of V distinct scores of the ``chosen`` class in ascending order.

    ``chosen`` [V, B]: of that class at each score; ``below`` [V + 1, B]: of the ``others`` below it, and last of all of
    them; ``tied`` [T, B]: of the others at the scores ``ties`` [T].
    """

    chosen: Sums
    below: Sums
    tied: Sums
    ties: NDArray[np.int64]


@dataclass(frozen=True)
class Ranking:
    """The rows of two classes in the order of a key. ``values``: how many distinct keys the chosen class has."""

    sums: RowSums
    values: int
    ties: NDArray[np.int64]

    @staticmethod
    def of(key: Array, chosen: NDArray[np.bool_], others: NDArray[np.bool_]) -> "Ranking":
        """Of rows [n]; those of neither class count for nothing."""
        mine, theirs = _in_order(key, chosen), _in_order(key, others)
        values, first = np.unique(key[mine], return_index=True)
        left, right = (np.searchsorted(key[theirs], values, side) for side in ("left", "right"))
        ties = np.flatnonzero(left < right)
        tied = [theirs[left[i] : right[i]] for i in ties]
        # runs: each of the values, then what lies below, between and above them, then what is tied with one
        starts = [first, [len(mine)], len(mine) + left, len(mine) + len(theirs) + np.cumsum([0, *map(len, tied)])[:-1]]
        rows = np.concatenate([mine, theirs, *tied])
        return Ranking(RowSums.at(rows, np.concatenate(starts)[1:].astype(np.int64), len(key)), len(values), ties)

    def __call__(self, weights: Weights) -> RankSums:
        """The sums under weights [n, B]."""
        sums, k = self.sums(weights.sums), self.values
        return RankSums(sums[:k], running(sums[k : 2 * k + 1]), sums[2 * k + 1 :], self.ties)


@dataclass(frozen=True)
class OfRanks:
    """A prepared metric that needs nothing but the sums of a ranking. ``finish``: from these to values [B]."""

    ranking: Ranking
    finish: Callable[[RankSums], Array]

    def __call__(self, weights: Weights) -> Array:
        """Values [B] under weights [n, B]."""
        return self.finish(self.ranking(weights))


@dataclass(frozen=True)
class OneLabel:
    """Scores and targets [n] of one label (1, 0, NaN where unknown), ranked once for all metrics that ask."""

    scores: Array
    targets: Array

    @cached_property
    def of_positives(self) -> Ranking:
        """The positives among the negatives, by ascending score."""
        return Ranking.of(self.scores, self.targets == 1, self.targets == 0)

    @cached_property
    def of_negatives(self) -> Ranking:
        """The negatives among the positives, by descending score."""
        return Ranking.of(-self.scores, self.targets == 0, self.targets == 1)


def _in_order(key: Array, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The chosen rows by their keys."""
    rows = np.flatnonzero(chosen)
    return rows[np.argsort(key[rows], kind="stable")]
