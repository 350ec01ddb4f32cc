"""Closed shapes in pixels of the stored image, as Object-CXR writes them: rectangles, ellipses, polygons.

A pixel's corners have whole coordinates: the box of the first pixel is (0, 0, 1, 1).
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.annotations.masks import Box
from cxrbench.data.annotations.polygons import ellipse_counts, enclosing_box, polygon_counts
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
    def box(self) -> Box:
        """The tight box: an ellipse touches it on all sides, for its axes are those of the image."""
        return enclosing_box(self.points)


def shape_counts(shapes: Sequence[Shape], height: int, width: int) -> list[str]:
    """COCO counts, space-separated, of masks [height, width] that together cover the shapes; one, two or none."""
    ellipses = [shape.box for shape in shapes if shape.kind == ShapeKind.ELLIPSE]
    outlines = [_outline(shape) for shape in shapes if shape.kind != ShapeKind.ELLIPSE]
    return [
        *([polygon_counts(outlines, height, width)] if outlines else []),
        *([ellipse_counts(ellipses, height, width)] if ellipses else []),
    ]


def _outline(shape: Shape) -> NDArray[np.float64]:
    """The corners of a rectangle or polygon."""
    if shape.kind == ShapeKind.POLYGON:
        return shape.points
    (left, top), (right, bottom) = shape.points
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


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
