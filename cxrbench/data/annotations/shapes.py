"""Closed shapes in pixels of the stored image, as object-CXR writes them: rectangles, ellipses, polygons; their boxes.

A pixel's corners have whole coordinates: the box of the first pixel is (0, 0, 1, 1).
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.tables import is_number
from cxrbench.errors import UserError
from cxrbench.files.names import plain


class ShapeKind(IntEnum):
    """The first number of a shape."""

    RECTANGLE = 0
    ELLIPSE = 1
    POLYGON = 2


class Shape(NamedTuple):
    """A closed shape by its points [n, 2]: two opposite corners of a rectangle or an ellipse's box, or all corners."""

    kind: ShapeKind
    points: NDArray[np.float64]

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The tight box x, y, width, height.

        An ellipse's axes are those of the image, so it touches its box on all sides; a polygon lies between its
        corners. So each is the range of the points.
        """
        low, high = self.points.min(axis=0), self.points.max(axis=0)
        return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])


def parse_shapes(text: str) -> list[Shape]:
    """The shapes of a cell such as ``0 10 20 30 40;2 5 5 9 5 7 9``: kind, then x and y of each point; none in "".

    Raises UserError for a kind other than 0, 1 and 2, for what is no number, and for too few or an odd number of them.
    """
    return [_shape(part.strip()) for part in text.split(";") if part.strip()]


def _shape(text: str) -> Shape:
    (kind, *rest), what = text.split(), f"shape {plain(text)!r}"
    if kind not in ("0", "1", "2"):
        raise UserError(f"{what} is of kind {plain(kind)!r}: known are 0 rectangle, 1 ellipse, 2 polygon")
    if not all(map(is_number, rest)):
        raise UserError(f"{what} has something that is no number in it")
    numbers = np.array(rest, np.float64)
    if kind == "2" and (len(numbers) < 6 or len(numbers) % 2):
        raise UserError(f"{what} has {len(numbers)} numbers: x and y of three or more points are wanted")
    if kind != "2" and len(numbers) != 4:
        raise UserError(f"{what} has {len(numbers)} numbers: x and y of two corners are wanted")
    return Shape(ShapeKind(int(kind)), numbers.reshape(-1, 2))
