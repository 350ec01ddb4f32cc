"""The phantom's textures: smooth random fields and fine streaks, drawn first and computed when they are wanted."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from cxrbench.phantom.anatomy import Thorax
from cxrbench.phantom.grids import Grid

Texture = Callable[[], Grid]
"""A field whose random numbers are drawn already: computes it."""


def texture(rng: Generator, like: Grid, scale: float) -> Texture:
    """Smooth random field of unit variance, correlated over about ``scale`` pixels."""
    h, w = like.shape
    step = max(1.0, scale / 2)
    drawn = rng.standard_normal((int(h / step) + 3, int(w / step) + 3), dtype=np.float32)

    def field() -> Grid:
        small = gaussian_filter(drawn, scale / step / 2)
        field = _enlarged(small, step, (h, w)) if step > 1 else small[:h, :w]
        return field / np.std(field)

    return field


def _enlarged(small: Grid, step: float, shape: tuple[int, int]) -> Grid:
    """The upper left ``shape`` of a grid enlarged ``step`` times: ``scipy.ndimage.zoom(..., order=1)``, bit for bit."""
    (top, bottom), (left, right) = (
        _between(np.arange(count) * ((size - 1) / (round(size * step) - 1)))
        for count, size in zip(shape, small.shape, strict=True)
    )
    # One column more than is wanted: a sum over a part of an array is rounded as zoom's was.
    field = np.empty((shape[0], shape[1] + 1), np.float32)[:, : shape[1]]
    rows = [small[at] * weight[:, None] for at, weight in (top, bottom)]
    total = sum(row.take(at, axis=1) * weight for row in rows for at, weight in (left, right))
    np.copyto(field, total, casting="same_kind")
    return field


def _between(at: NDArray[np.floating]) -> tuple[tuple[NDArray[np.intp], NDArray[np.float64]], ...]:
    """The grid points before and after each coordinate, with their weights in linear interpolation."""
    before = np.floor(at).astype(np.intp)
    share = (at - before).astype(np.float64, copy=False)
    return (before, 1 - share), (before + 1, share)


def _streaks(rng: Generator, t: Thorax, place: Callable[[], tuple[Grid, Grid]]) -> Texture:
    """Fine streaks along x, of unit variance, another pattern on each side; ``place``: x and y of the pixels."""
    drawn = rng.standard_normal((2, 128, 24), dtype=np.float32)

    def field() -> Grid:
        x, y = place()
        values = gaussian_filter(drawn, (0, 1.0, 0.8)).ravel()
        (top, bottom), (left, right) = _between((y + 1.2) * 48 % 127), _between((x + 1.5) * 8 % 23)
        first, total = t.left * (128 * 24), np.zeros(x.shape)
        for row, by_row in (top, bottom):  # linear interpolation, summed as map_coordinates does
            start = first + row * 24
            for column, by_column in (left, right):
                term = values.take(start + column).astype(np.float64)
                term *= by_row
                term *= by_column
                total += term
        field = total.astype(np.float32)
        return field / np.std(field)

    return field


def striae(rng: Generator, t: Thorax) -> Texture:
    """A fan of streaks: air between the fibres of the pectoral muscles (subcutaneous emphysema)."""
    return _streaks(rng, t, lambda: (t.a + 0.3 * t.y, t.y + 0.75 * t.a))


def septa(rng: Generator, t: Thorax) -> Texture:
    """Short horizontal lines: thickened septa (Kerley's lines)."""
    return _streaks(rng, t, lambda: (t.x, t.y))
