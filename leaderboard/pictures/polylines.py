"""Curves as polylines: their area, their mean, and no more points than the eye can tell apart."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Polyline(NamedTuple):
    """Points [n] joined by straight lines; ``x`` does not fall, and where it stays the line stands upright."""

    x: Array
    y: Array

    def area(self) -> float:
        """Under the line."""
        return float(np.trapezoid(self.y, self.x))


def mean_line(lines: Sequence[Polyline], weights: Sequence[float] | None = None) -> Polyline:
    """The mean of the heights at each x, upright parts kept: its area is exactly the mean of the areas.

    All lines have the same first and last x. ``weights``: by default all alike.
    """
    if len(lines) == 1:
        return lines[0]
    shares = np.full(len(lines), 1.0) if weights is None else np.asarray(weights, dtype=np.float64)
    x = np.unique(np.concatenate([one.x for one in lines]))
    left, right = np.zeros_like(x), np.zeros_like(x)
    for one, share in zip(lines, shares / shares.sum(), strict=True):
        from_left, from_right = _heights(one, x)
        left += share * from_left
        right += share * from_right
    return _without_doubles(Polyline(np.repeat(x, 2), np.stack([left, right], axis=1).ravel()))


def thinned(line: Polyline, tolerance: float) -> Polyline:
    """The line through fewer of its own points, from which no other point is farther than ``tolerance``.

    Ramer (1972), Douglas and Peucker (1973), all segments split at once, each at its farthest point. Points that
    change nothing go at any tolerance.
    """
    kept = np.array([0, len(line.x) - 1])
    if len(line.x) < 3:
        return line
    while True:
        segment = np.clip(np.searchsorted(kept, np.arange(len(line.x)), side="right") - 1, 0, len(kept) - 2)
        away = _distance(line, kept[segment], kept[segment + 1])
        farthest = np.maximum.reduceat(away, kept[:-1])
        split = farthest > tolerance
        if not split.any():
            return Polyline(line.x[kept], line.y[kept])
        at = np.flatnonzero((away == farthest[segment]) & split[segment])
        first = np.unique(segment[at], return_index=True)[1]
        kept = np.union1d(kept, at[first])


def corners(line: Polyline) -> Polyline:
    """Without points at which the line goes straight on: of steps most."""
    dx, dy = np.diff(line.x), np.diff(line.y)
    turns = dx[1:] * dy[:-1] != dx[:-1] * dy[1:]
    kept = np.concatenate([[True], turns, [True]])
    return Polyline(line.x[kept], line.y[kept])


def _heights(line: Polyline, x: Array) -> tuple[Array, Array]:
    """Heights at ``x``, coming from the left and from the right; they differ where the line stands upright."""
    last = np.searchsorted(line.x, x, side="right") - 1  # the last point at or before x
    first = np.searchsorted(line.x, x, side="left")  # the first point at or after x
    exact = line.x[np.minimum(first, len(line.x) - 1)] == x
    between = np.interp(x, line.x, line.y)
    return np.where(exact, line.y[np.minimum(first, len(line.x) - 1)], between), np.where(exact, line.y[last], between)


def _distance(line: Polyline, start: NDArray[np.int64], end: NDArray[np.int64]) -> Array:
    """Of each point [n] from the straight line between the points ``start`` and ``end`` [n]; 0 at these."""
    dx, dy = line.x[end] - line.x[start], line.y[end] - line.y[start]
    length = np.hypot(dx, dy)
    x, y = line.x - line.x[start], line.y - line.y[start]
    across = np.abs(dx * y - dy * x)
    return np.where(length > 0, across / np.where(length > 0, length, 1.0), np.hypot(x, y))


def _without_doubles(line: Polyline) -> Polyline:
    """Without points that are the one before them."""
    new = np.concatenate([[True], (np.diff(line.x) != 0) | (np.diff(line.y) != 0)])
    return Polyline(line.x[new], line.y[new])
