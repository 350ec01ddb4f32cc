"""A metric whose scores are sorted and binned: a function of weights, alone or with the others of its cell."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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
    _of_targets: dict[bytes, Array] = field(default_factory=dict, init=False, repr=False, compare=False)

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

    def counted(self, rows: NDArray[np.bool_], name: bytes) -> Array:
        """How much weight each of several selections of rows [s, n] has: [s, B]; by its name each is counted once.

        For what depends on the targets alone: all cells of a test set have the same.
        """
        if name not in self._of_targets:
            counts = rows.astype(self.sums.dtype) @ self.sums  # of counts every part of a sum is a whole number
            self._of_targets[name] = counts.astype(np.float64, copy=False)
        return self._of_targets[name]


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
    """A matrix of ``values`` at (row, column), for products.

    By hand, for of small matrices scipy's own way takes longer than what is done with them.
    """
    order = np.argsort(columns, kind="stable")
    starts = np.zeros(shape[1] + 1, np.int32)
    np.cumsum(np.bincount(columns, minlength=shape[1]), out=starts[1:])
    return csc_array((values[order], rows[order].astype(np.int32), starts), shape=shape)


Finish = Callable[[Array, Array, Array, Array], Array]


@dataclass(frozen=True)
class OfSums:
    """A prepared metric that needs nothing but weighted sums of per-image quantities.

    ``of_targets``: rows [n] of which a sum counts images, and which follow from the targets alone; ``counts``: other
    such rows; ``binned``: of some images a value and the bin whose sum it belongs to; ``real``: any other rows [n].
    ``finish``: from the sums of ``counts``, ``of_targets``, ``binned`` and ``real``, [c, B], [t, B], [bins, B] and
    [r, B], to values [B].
    """

    finish: Finish
    of_targets: tuple[NDArray[np.bool_], ...]
    counts: tuple[NDArray[np.bool_], ...] = ()
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
    """Metrics of sums as three matrix products, for reading the weights takes most of the time of a small one.

    What is counted or binned is zero for most images: a sparse matrix in the order of the images, so that the weights
    are read once for all of them. Quantities that several metrics count are counted once; those that follow from the
    targets, once for all cells (``name``). Each sum is made in the same order whatever the others are.
    """

    of_targets: NDArray[np.bool_]
    name: bytes
    sparse: csc_array
    real: Array
    finish: tuple[tuple[list[int], list[int], slice, slice, Finish], ...]

    @staticmethod
    def of(metrics: Sequence[OfSums]) -> "SumsTogether":
        """Of at least one metric."""
        n = len(metrics[0].of_targets[0])
        of_targets, shared = _once([row for one in metrics for row in one.of_targets], n)
        counted, own = _once([row for one in metrics for row in one.counts], n)
        rows, images = np.nonzero(counted)
        parts, at, finish, real = [(rows, images, np.ones(len(rows)))], len(counted), [], 0
        for one in metrics:
            bins = slice(at, at)
            if one.binned is not None:
                parts.append((at + one.binned.bins, one.binned.images, one.binned.values))
                bins = slice(at, at := at + one.binned.count)
            mine, own = own[: len(one.counts)], own[len(one.counts) :]
            its, shared = shared[: len(one.of_targets)], shared[len(one.of_targets) :]
            finish.append((mine, its, bins, slice(real, real + len(one.real)), one.finish))
            real += len(one.real)
        at_rows, at_images, values = (np.concatenate(part) for part in zip(*parts, strict=True))
        return SumsTogether(
            of_targets,
            hashlib.blake2b(of_targets.tobytes(), digest_size=20).digest(),
            sparse(values, at_rows, at_images, (at, n)),
            np.array([row for one in metrics for row in one.real]).reshape(real, n),
            tuple(finish),
        )

    def __call__(self, weights: Weights) -> Array:
        """Values [metrics, B]."""
        sparse, real = self.sparse @ weights.double, self.real @ weights.double
        of_targets = weights.counted(self.of_targets, self.name)
        return np.array(
            [
                finish(sparse[counts], of_targets[shared], sparse[bins], real[of])
                for counts, shared, bins, of, finish in self.finish
            ]
        )


def _once(rows: Sequence[NDArray[np.bool_]], n: int) -> tuple[NDArray[np.bool_], list[int]]:
    """The rows [n] that differ, and which of them each one is."""
    first: dict[bytes, NDArray[np.bool_]] = {}
    of = [row.tobytes() for row in rows]
    for name, row in zip(of, rows, strict=True):
        first.setdefault(name, row)
    places = {name: i for i, name in enumerate(first)}
    return np.array([*first.values()], dtype=np.bool_).reshape(len(first), n), [places[name] for name in of]
