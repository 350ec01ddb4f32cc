"""A metric whose scores are sorted and binned: a function of weights, alone or with the others of its cell."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Sums = NDArray[np.floating]


@dataclass(frozen=True)
class Weights:
    """Weights [n, B], one column per weighting, as the metrics read them.

    ``sums``: for gathering and adding rows; float32 if the weights are counts whose sums float32 holds exactly (below
    2^24), else float64. Half the bytes are half the time, and nothing is lost.
    """

    sums: Sums

    @staticmethod
    def of(weights: NDArray[np.generic]) -> "Weights":
        """From an array [n, B], integer (resample counts) or real-valued, none negative."""
        if weights.ndim != 2:
            raise ValueError(f"weights must be [n, B], not {weights.shape}")
        counts = np.issubdtype(weights.dtype, np.integer) and len(weights) * int(weights.max(initial=0)) < 2**24
        return Weights(np.ascontiguousarray(weights, np.float32 if counts else np.float64))

    @cached_property
    def double(self) -> Array:
        """The same in float64, for products with real numbers; made once however many metrics ask."""
        return self.sums.astype(np.float64, copy=False)


Prepared = Callable[[Weights], Array]


def never_defined(weights: Weights) -> Array:
    """The metric of a label that has no scores: NaN [B]."""
    return np.full(weights.sums.shape[1], np.nan)


@dataclass(frozen=True)
class OfSums:
    """A prepared metric that needs nothing but weighted sums of per-image quantities.

    ``rows`` [r, n], float64; ``finish``: from their sums [r, B] to values [B].
    """

    rows: Array
    finish: Callable[[Array], Array]

    @staticmethod
    def of(rows: tuple[NDArray[np.generic], ...], finish: Callable[[Array], Array]) -> "OfSums":
        """From quantities [n] of any type."""
        return OfSums(np.stack([row.astype(np.float64) for row in rows]), finish)

    def __call__(self, weights: Weights) -> Array:
        """Values [B] under weights [n, B]."""
        return self.finish(self.rows @ weights.double)


@dataclass(frozen=True)
class Together:
    """All prepared metrics of one cell as one function of weights [n, B] to values [metrics, B].

    The sums of all that need nothing else are one matrix product: reading the weights takes most of the time of a
    small one. Cells with the same metrics are summed in the same order, so the same predictions give the same numbers.
    """

    rows: Array
    finish: tuple[tuple[int, slice, Callable[[Array], Array]], ...]
    others: tuple[tuple[int, Prepared], ...]

    @staticmethod
    def of(prepared: Sequence[Prepared]) -> "Together":
        """Of metrics in the order of their values; at least one."""
        of_sums = [(i, one) for i, one in enumerate(prepared) if isinstance(one, OfSums)]
        ends = np.cumsum([0, *(len(one.rows) for _, one in of_sums)]).tolist()
        return Together(
            np.concatenate([one.rows for _, one in of_sums]) if of_sums else np.empty((0, 0)),
            tuple((i, slice(*ends[k : k + 2]), one.finish) for k, (i, one) in enumerate(of_sums)),
            tuple((i, one) for i, one in enumerate(prepared) if not isinstance(one, OfSums)),
        )

    @property
    def metrics(self) -> int:
        """How many."""
        return len(self.finish) + len(self.others)

    def __call__(self, weights: Weights) -> Array:
        """Values [metrics, B]."""
        values = np.empty((self.metrics, weights.sums.shape[1]))
        if self.finish:
            sums = self.rows @ weights.double
            for i, of, finish in self.finish:
                values[i] = finish(sums[of])
        for i, one in self.others:
            values[i] = one(weights)
        return values
