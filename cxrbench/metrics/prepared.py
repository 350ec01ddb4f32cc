"""A metric whose scores are sorted and binned: a function of weights, alone or with the others of its cell."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array

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


def running(rows: Sums) -> Sums:
    """Running sums over the first axis of an array [k, B], as ``cumsum(0)``, which goes column by column: slowly.

    Here whole rows are added: within groups of about sqrt(k) rows, all groups at once, then group to group.
    """
    sums = rows.copy()
    within = max(1, int(len(rows) ** 0.5))
    groups = sums[: len(rows) // within * within].reshape(-1, within, rows.shape[1])
    for j in range(1, within):
        groups[:, j] += groups[:, j - 1]
    for i in range(1, len(groups)):
        groups[i] += groups[i - 1, -1]
    for i in range(max(1, len(groups) * within), len(rows)):
        sums[i] += sums[i - 1]
    return sums


def sparse(values: Sums, rows: NDArray[np.int64], columns: NDArray[np.int64], shape: tuple[int, int]) -> csc_array:
    """A matrix of ``values`` at (row, column); what stands at one place is added up.

    By hand, for of small matrices scipy's own way takes longer than what is done with them.
    """
    order = np.argsort(columns, kind="stable")
    starts = np.zeros(shape[1] + 1, np.int32)
    np.cumsum(np.bincount(columns, minlength=shape[1]), out=starts[1:])
    found = csc_array((values[order], rows[order].astype(np.int32), starts), shape=shape)
    found.sum_duplicates()
    return found


@dataclass(frozen=True)
class OfSums:
    """A prepared metric that needs nothing but weighted sums of per-image quantities.

    ``counts``: rows [n] of which a sum counts images; ``binned``: of some images a value and the bin whose sum it
    belongs to; ``real``: any other rows [n]. ``finish``: from the sums of these three, [c, B], [bins, B] and [r, B], to
    values [B].
    """

    finish: Callable[[Array, Array, Array], Array]
    counts: tuple[NDArray[np.bool_], ...]
    binned: "Binned | None" = None
    real: tuple[Array, ...] = ()

    def __call__(self, weights: Weights) -> Array:
        """Values [B] under weights [n, B]."""
        return SumsTogether.of([self])(weights)[0]


@dataclass(frozen=True)
class Binned:
    """Values of some images, each in one of ``count`` bins."""

    count: int
    bins: NDArray[np.int64]
    images: NDArray[np.int64]
    values: Array


@dataclass(frozen=True)
class SumsTogether:
    """Metrics of sums as two matrix products, for reading the weights takes most of the time of a small one.

    What is counted or binned is zero for most images: a sparse matrix in the order of the images, so that the weights
    are read once for all of them. Quantities that several metrics count are counted once. Each sum is made in the same
    order whatever the others are.
    """

    sparse: csc_array
    real: Array
    finish: tuple[tuple[list[int], slice, slice, Callable[[Array, Array, Array], Array]], ...]

    @staticmethod
    def of(metrics: Sequence[OfSums]) -> "SumsTogether":
        """Of at least one metric."""
        places: dict[bytes, int] = {}
        counted: list[NDArray[np.bool_]] = []
        for row in (row for one in metrics for row in one.counts):
            if places.setdefault(row.tobytes(), len(counted)) == len(counted):
                counted.append(row)
        rows, images = np.nonzero(np.stack(counted))
        parts, at, finish, real = [(rows, images, np.ones(len(rows)))], len(counted), [], 0
        for one in metrics:
            bins = slice(at, at)
            if one.binned is not None:
                parts.append((at + one.binned.bins, one.binned.images, one.binned.values))
                bins = slice(at, at := at + one.binned.count)
            finish.append(
                ([places[row.tobytes()] for row in one.counts], bins, slice(real, real + len(one.real)), one.finish)
            )
            real += len(one.real)
        at_rows, at_images, values = (np.concatenate(part) for part in zip(*parts, strict=True))
        n = len(counted[0])
        return SumsTogether(
            sparse(values, at_rows, at_images, (at, n)),
            np.array([row for one in metrics for row in one.real]).reshape(real, n),
            tuple(finish),
        )

    def __call__(self, weights: Weights) -> Array:
        """Values [metrics, B]."""
        sparse, real = self.sparse @ weights.double, self.real @ weights.double
        return np.array([finish(sparse[counts], sparse[bins], real[of]) for counts, bins, of, finish in self.finish])
