"""Functions on pixel grids of which the phantom is drawn: smoothed curves, soft edges, spots, Gaussian smoothing.

They are the inner loop of the renderer, and the bits of every image depend on the order of their operations.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

Grid = NDArray[np.floating]  # float32 in fact; NumPy's stubs widen it with every Python float

LOW, HIGH, BINS = -2.0, 2.0, 2048
ARGUMENTS = np.linspace(LOW, HIGH, BINS)


def curve(knots: list[tuple[float, float]], smooth: float = 0.02) -> Grid:
    """A smoothed piecewise-linear function as a table over [LOW, HIGH]: knots are (argument, value)."""
    arguments, values = zip(*knots, strict=True)
    weights = gaussian_weights(smooth * BINS / (HIGH - LOW))
    reach = len(weights) // 2 + 1
    first, last = np.searchsorted(ARGUMENTS, (arguments[0], arguments[-1])).tolist()
    bent = slice(max(0, first - reach), min(BINS, last + reach))  # outside, the smoothed curve too is constant
    part = correlate1d(np.interp(ARGUMENTS[bent], arguments, values), weights, mode="nearest")
    table = np.empty(BINS, np.float32)
    table[: bent.start], table[bent], table[bent.stop :] = part[0], part, part[-1]
    return table


@lru_cache(maxsize=64)
def gaussian_weights(sigma: float, truncate: float = 4.0) -> NDArray[np.float64]:
    """The weights by which ``scipy.ndimage.gaussian_filter`` smooths, bit for bit; they are not to be written to."""
    reach = int(truncate * sigma + 0.5)
    weights = np.exp(-0.5 / (sigma * sigma) * np.arange(-reach, reach + 1) ** 2)
    return weights / weights.sum()


def smoothed(image: Grid, sigma: float, truncate: float = 4.0) -> Grid:
    """``scipy.ndimage.gaussian_filter`` of an image [H, W], with weights that are computed once for each width."""
    weights = gaussian_weights(sigma, truncate)
    return correlate1d(correlate1d(image, weights, 0), weights, 1)


def bins(at: Grid) -> NDArray[np.intp]:
    """Where a ``curve`` has its values at a grid of arguments."""
    place = np.subtract(at, LOW, dtype=np.float32)
    place *= (BINS - 1) / (HIGH - LOW)
    np.clip(place, 0, BINS - 1, out=place)
    return place.astype(np.intp)


def look_up(table: Grid, at: Grid) -> Grid:
    """Values of a ``curve`` on a grid."""
    return table.take(bins(at), mode="clip")


def edge(distance: Grid, softness: float) -> Grid:
    """0 outside (distance < 0), 1 inside, a smooth ramp of total width ``softness`` between."""
    t = np.multiply(distance, np.float32(1 / softness))  # in place from here: this is the renderer's inner loop
    t += np.float32(0.5)
    np.clip(t, 0, 1, out=t)
    square = t * t
    t *= -2
    t += 3
    square *= t
    return square


def bump(x: Grid, sigma: float) -> Grid:
    """exp(-(x / sigma)^2)."""
    t = np.multiply(x, np.float32(1 / sigma))
    t *= -t
    return np.exp(t, out=t)


def spot(dx: Grid, dy: Grid, sigma: float) -> Grid:
    """A round Gaussian spot."""
    t = dx * dx
    t += dy * dy
    t *= np.float32(-1 / sigma**2)
    return np.exp(t, out=t)


def radius(dx: Grid, dy: Grid) -> Grid:
    """sqrt(dx^2 + dy^2), rounded once: what ``hypot`` gives in single precision, at half its cost."""
    sum_of_squares = np.square(dx, dtype=np.float64)
    sum_of_squares += np.square(dy, dtype=np.float64)
    return np.sqrt(sum_of_squares, out=sum_of_squares).astype(np.float32)
