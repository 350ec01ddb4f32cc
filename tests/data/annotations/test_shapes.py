"""Boxes of shapes against pycocotools, and against points on the curve itself."""

import numpy as np
import pytest
from pycocotools import mask as coco

from cxrbench.data.annotations.shapes import ShapeKind, parse_shapes
from cxrbench.errors import UserError


def test_a_polygon_has_the_box_that_coco_gives_its_mask() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        angles, reach = np.sort(rng.uniform(0, 2 * np.pi, 7)), rng.uniform(200, 900, 7)
        points = np.rint(1000 + reach[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)).astype(int)
        (shape,) = parse_shapes("2 " + " ".join(map(str, points.ravel().tolist())))
        mask = coco.merge(coco.frPyObjects([points.ravel().astype(float).tolist()], 2000, 2000))
        np.testing.assert_allclose(shape.box, coco.toBbox(mask), atol=40)  # a thin spike has no whole pixel


def test_an_ellipse_touches_its_box_on_all_sides() -> None:
    (shape,) = parse_shapes("1 20 4 30 10")
    assert shape.kind == ShapeKind.ELLIPSE
    turn = np.linspace(0, 2 * np.pi, 40_001)
    x, y = 25 + 5 * np.cos(turn), 7 + 3 * np.sin(turn)
    np.testing.assert_allclose(shape.box, [x.min(), y.min(), np.ptp(x), np.ptp(y)], atol=1e-6)


def test_shapes_are_read_in_their_order_and_corners_in_any() -> None:
    first, second = parse_shapes("0 12 9 2 3; 2 5 5 15.5 7 11 21 ;")
    assert first.box == (2, 3, 10, 6)
    assert second.box == (5, 5, 10.5, 16)
    assert parse_shapes("") == parse_shapes(" ; ") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3 1 2 3 4", "is of kind '3': known are 0 rectangle, 1 ellipse, 2 polygon"),
        ("0 1 2 3", "has 3 numbers: x and y of two corners"),
        ("0 1 2 3 4 5 6", "has 6 numbers: x and y of two corners"),
        ("2 1 2 3 4", "has 4 numbers: x and y of three or more points"),
        ("2 1 2 3 4 5 6 7", "has 7 numbers: x and y of three or more points"),
        ("1 1 2 x 4", "something that is no number"),
        ("1 1 2 nan 4", "something that is no number"),
    ],
)
def test_a_shape_that_cannot_be_meant_is_one_line(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse_shapes(f"0 1 1 2 2;{text}")
    assert "\n" not in str(caught.value)
