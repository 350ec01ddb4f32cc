"""Outlines as masks: polygons and ellipses in pixels of the stored image, as COCO's run lengths.

Pixel (row r, column c) covers [c, c + 1] x [r, r + 1] and has its centre between the whole numbers, as the boxes of
this package have it. It belongs to an outline if its centre does. Programs that draw outlines differ in the pixels on
the line itself: OpenCV and Pillow, in which many annotations were drawn, take whole numbers for centres and the line
for inside, which makes a shape half a pixel larger on every side; pycocotools rounds corners to fifths of a pixel.

Run lengths come from where the outline crosses the middle of each column, without a mask in between: their cost is
that of the outline, not that of the image.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.annotations.masks import Box
from cxrbench.data.annotations.rle import MAX_PIXELS
from cxrbench.errors import UserError
from cxrbench.files.names import plain

Points = NDArray[np.float64]
"""Corners [n, 2] of a polygon, x and y, in pixels; the last is joined to the first."""
Runs = NDArray[np.int64]
"""Where a mask changes [2 k], ascending: the first pixel of a run and the first after it, counted down the columns."""
CORNERS = 3
FAR = 1e6
"""Pixels beyond which no corner is meant: no image has such a side, and what is far beyond overflows."""


def read_points(values: Any, where: str) -> Points:
    """Corners from what annotation files hold: a list of ``[x, y]``, of ``{"x": x, "y": y}``, or ``x1, y1, x2, ...``.

    ``where`` begins the UserError for anything else (an object of points by number, or a text, among it), for numbers
    that are not finite or beyond FAR, and for fewer than three corners.
    """
    try:
        if isinstance(values, (dict, str)):  # their keys and their letters could pass for numbers
            raise TypeError
        points = np.array(
            [(value["x"], value["y"]) if isinstance(value, dict) else value for value in values], np.float64
        )
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise UserError(f"{where} is no list of points x, y: {plain(str(values))}") from error
    if points.ndim == 1 and len(points) % 2 == 0:
        points = points.reshape(-1, 2)
    if points.ndim != 2 or points.shape[1] != 2:
        raise UserError(f"{where} is no list of points x, y: {plain(str(values))}")
    if len(points) < CORNERS:
        raise UserError(f"{where} has {len(points)} point(s); an outline has {CORNERS} or more")
    if not np.isfinite(points).all():
        raise UserError(f"{where} has a point that is not finite: {plain(str(values))}")
    if (np.abs(points) > FAR).any():
        raise UserError(f"{where} has a point beyond {FAR:,.0f} pixels: {plain(str(values))}")
    return points


def check_points(points: Points, height: int, width: int, where: str) -> None:
    """Raise UserError for an outline of which no part lies in the image, and for one in fractions of its sides.

    A corner beyond the edge is no error: readers draw past it, and the mask ends where the image does.
    """
    low, high = points.min(0), points.max(0)
    if (high <= 0).any() or (low >= (width, height)).any():
        raise UserError(
            f"{where} lies outside of its {width} x {height} image; are its points in pixels of another size?"
        )
    if (low >= 0).all() and (high <= 1).all() and min(height, width) > 1:
        raise UserError(
            f"{where} lies within 0..1, as fractions of the image would: multiply them by its {width} x {height} pixels"
        )


def polygon_counts(polygons: Iterable[Points], height: int, width: int) -> str:
    """COCO counts, space-separated, of the union of polygons in an image [height, width].

    A polygon that crosses itself covers what an odd number of crossings lies around (the even-odd rule, as in OpenCV,
    Pillow and pycocotools). What lies beyond the image is cut off. Without polygons the mask is empty.
    """
    return _counts([_polygon(points, height, width) for points in polygons], height, width)


def ellipse_counts(boxes: Iterable[Box], height: int, width: int) -> str:
    """COCO counts, space-separated, of the union of upright ellipses, each given by the box that it touches.

    A pixel is inside if its centre is: ((x - cx) / rx)^2 + ((y - cy) / ry)^2 <= 1.
    """
    return _counts([_ellipse(box, height, width) for box in boxes], height, width)


def enclosing_box(points: Points) -> Box:
    """The smallest box around a polygon."""
    (left, top), (right, bottom) = points.min(0), points.max(0)
    return Box(float(left), float(top), float(right - left), float(bottom - top))


def _polygon(points: Points, height: int, width: int) -> Runs:
    """Where the outline crosses the middle line of each column: there its inside begins or ends."""
    start, end = points, np.roll(points, -1, axis=0)
    first, last = (_column_from(np.sort([start[:, 0], end[:, 0]], axis=0)[side], width) for side in (0, 1))
    times = last - first  # column middles with left <= middle < right: a corner on one counts for one of its two edges
    edge = np.repeat(np.arange(len(points)), times)
    column = np.repeat(first, times) + np.arange(len(edge)) - np.repeat(np.cumsum(times) - times, times)
    (x0, y0), (x1, y1) = start[edge].T, end[edge].T
    y = y0 + (column + 0.5 - x0) / (x1 - x0) * (y1 - y0)
    places, often = np.unique(column * height + _row_from(y, height), return_counts=True)
    return places[often % 2 == 1]


def _ellipse(box: Box, height: int, width: int) -> Runs:
    """Where an ellipse begins and ends on the middle line of each column that it reaches."""
    if not (np.isfinite(box).all() and box.width > 0 and box.height > 0):
        raise UserError(f"the ellipse in the box {tuple(box)} has no area; mend or remove it")
    left, right = (int(_column_from(np.array([x]), width)[0]) for x in (box.x, box.x + box.width))
    column = np.arange(left, right)
    across = (column + 0.5 - box.x - box.width / 2) / (box.width / 2)
    half = box.height / 2 * np.sqrt(np.clip(1 - across**2, 0, 1))
    middle = box.y + box.height / 2
    begin = _row_from(middle - half, height)
    end = np.clip(np.floor(middle + half - 0.5).astype(np.int64) + 1, 0, height)
    some = end > begin
    return np.stack([column * height + begin, column * height + end], axis=1)[some].ravel()


def _column_from(x: NDArray[np.float64], width: int) -> Runs:
    """The first column whose middle is not left of ``x``, within [0, width]."""
    return np.ceil(np.clip(x, 0, width) - 0.5).astype(np.int64)


_row_from = _column_from


def _counts(shapes: Sequence[Runs], height: int, width: int) -> str:
    """The union of shapes as COCO counts."""
    pixels = height * width
    if pixels > MAX_PIXELS:
        raise UserError(f"a mask of {width} x {height} pixels is more than the limit of {MAX_PIXELS:,}")
    places = np.concatenate([np.zeros(0, np.int64), *shapes])
    step = np.concatenate([np.zeros(0, np.int64), *(1 - 2 * (np.arange(len(shape)) % 2) for shape in shapes)])
    where, index = np.unique(places, return_inverse=True)
    inside = np.cumsum(np.bincount(index, step, len(where)).astype(np.int64)) > 0
    changes = where[np.diff(inside, prepend=False)]
    return " ".join(map(str, np.diff([0, *changes[changes < pixels], pixels]).tolist()))
