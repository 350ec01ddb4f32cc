"""Outlines against matplotlib's point-in-polygon test, pycocotools, Pillow and closed forms."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Outline
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pycocotools import mask as coco
from scipy.ndimage import distance_transform_edt

from cxrbench.data.annotations.masks import Box
from cxrbench.data.annotations.polygons import (
    check_points,
    ellipse_counts,
    enclosing_box,
    polygon_counts,
    read_points,
)
from cxrbench.data.annotations.rle import decode_counts, encode_counts
from cxrbench.errors import UserError

HEIGHT, WIDTH = 37, 53
seeds = st.integers(0, 2**32 - 1)


def polygon(*outlines: Any, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.bool_]:
    return decode_counts(polygon_counts([np.array(o, float) for o in outlines], height, width), height, width)


def centres(height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.float64]:
    y, x = np.mgrid[:height, :width] + 0.5
    return np.stack([x.ravel(), y.ravel()], axis=1)


def star(seed: int, corners: int, *, reach: float = 1.2) -> NDArray[np.float64]:
    """A polygon around the image's middle that does not cross itself; it may lie partly outside."""
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    spokes = rng.uniform(0.2, reach, corners)[:, None] * (WIDTH / 2, HEIGHT / 2)
    return np.stack([np.cos(angles), np.sin(angles)], 1) * spokes + (WIDTH / 2, HEIGHT / 2)


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(3, 40))
def test_a_polygon_has_the_pixels_whose_centres_matplotlib_finds_inside(seed: int, corners: int) -> None:
    points = star(seed, corners)
    inside = Outline([*points, points[0]], closed=True).contains_points(centres()).reshape(HEIGHT, WIDTH)
    np.testing.assert_array_equal(polygon(points), inside)
    np.testing.assert_array_equal(polygon(points[::-1]), inside)  # either way round
    np.testing.assert_array_equal(polygon(np.roll(points, 2, 0)), inside)  # from any corner


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(3, 12))
def test_a_polygon_that_crosses_itself_follows_the_even_odd_rule(seed: int, corners: int) -> None:
    points = np.random.default_rng(seed).uniform((-9, -9), (WIDTH + 9, HEIGHT + 9), (corners, 2))
    x, y = centres().T
    crossings = np.zeros(len(x), int)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, 0), strict=True):  # a ray to the right of each centre
        spans = (y0 <= y) != (y1 <= y)
        crossings += spans & (x < x0 + (y - y0) / np.where(y1 == y0, 1, y1 - y0) * (x1 - x0))
    np.testing.assert_array_equal(polygon(points), (crossings % 2 == 1).reshape(HEIGHT, WIDTH))


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(1, 4))
def test_several_polygons_are_united_and_written_as_the_union_of_their_masks_is(seed: int, several: int) -> None:
    outlines = [star(seed + i, 3 + i, reach=0.9) + 3 * i for i in range(several)]
    union = np.logical_or.reduce([polygon(o) for o in outlines])
    assert polygon_counts(outlines, HEIGHT, WIDTH) == encode_counts(union)


@pytest.mark.parametrize("seed", range(8))
def test_pycocotools_and_pillow_differ_on_the_outline_alone(seed: int) -> None:
    height, width, points = 6 * HEIGHT, 6 * WIDTH, 6 * star(seed, 9, reach=0.95)
    ours = polygon(points, height=height, width=width)
    given: Any = [points.ravel().tolist()]
    runs: Any = coco.merge(coco.frPyObjects(given, height, width))
    canvas = Image.new("1", (width, height))
    ImageDraw.Draw(canvas).polygon([tuple(p - 0.5) for p in points], fill=1, outline=1)  # whole numbers are centres
    to_other_side = np.asarray(distance_transform_edt(ours)) + np.asarray(distance_transform_edt(~ours))
    for other, least in ((coco.decode(runs).astype(bool), 0.99), (np.asarray(canvas), 0.94)):
        assert (ours & other).sum() > least * (ours | other).sum() > 1000
    assert to_other_side[ours != coco.decode(runs)].max(initial=0) <= 1


def test_areas_are_those_of_closed_forms() -> None:
    corners = [(100.3, 50.2), (700.9, 120.4), (650.1, 480.8), (90.7, 430.5)]
    points = np.array(corners)
    x, y = points.T
    shoelace = abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
    assert polygon(points, height=600, width=800).sum() == pytest.approx(shoelace, rel=2e-3)
    box = Box(30.5, 41.25, 600, 350)
    assert decode_counts(ellipse_counts([box], 600, 800), 600, 800).sum() == pytest.approx(
        np.pi / 4 * box.width * box.height, rel=1e-3
    )


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_an_ellipse_has_the_pixels_whose_centres_satisfy_its_equation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    box = Box(*rng.uniform((-20, -20, 1, 1), (WIDTH, HEIGHT, 60, 60)).tolist())
    x, y = centres().T
    value = ((x - box.x) / box.width * 2 - 1) ** 2 + ((y - box.y) / box.height * 2 - 1) ** 2
    found = decode_counts(ellipse_counts([box], HEIGHT, WIDTH), HEIGHT, WIDTH)
    np.testing.assert_array_equal(found, (value <= 1).reshape(HEIGHT, WIDTH))


def test_rectangles_at_whole_numbers_and_at_the_edges() -> None:
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[3:7, 5:9] = True
    np.testing.assert_array_equal(polygon([(5, 3), (9, 3), (9, 7), (5, 7)]), expected)
    everything = [(-5, -5), (WIDTH + 5, -5), (WIDTH + 5, HEIGHT + 5), (-5, HEIGHT + 5)]
    assert polygon_counts([np.array(everything, float)], HEIGHT, WIDTH) == f"0 {HEIGHT * WIDTH}"
    assert polygon_counts([], HEIGHT, WIDTH) == polygon_counts(
        [np.array([(5.1, 1), (5.2, 9), (5.1, 9)])], HEIGHT, WIDTH
    )
    assert polygon_counts([], HEIGHT, WIDTH) == encode_counts(np.zeros((HEIGHT, WIDTH), bool))
    assert enclosing_box(np.array([(5, 3), (9, 3.5), (7, 7.25)])) == Box(5, 3, 4, 4.25)


@pytest.mark.parametrize("values", [[[1, 2], [3, 4], [5, 7]], [{"x": 1, "y": 2}, {"x": 3, "y": 4}, {"y": 7, "x": 5}],
                                    [1, 2, 3, 4, 5, 7]])  # fmt: skip
def test_points_are_read_in_the_ways_that_files_have_them(values: Any) -> None:
    np.testing.assert_array_equal(read_points(values, "rib R1"), [[1, 2], [3, 4], [5, 7]])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("None", "rib R1 is no list of points x, y"),
        (None, "rib R1 is no list of points x, y"),
        ([{"x": 1}, {"x": 2}, {"x": 2}], "rib R1 is no list of points x, y"),
        ([[1, 2, 3], [1, 2, 3], [1, 2, 3]], "rib R1 is no list of points x, y"),
        ([1, 2, 3, 4, 5], "rib R1 is no list of points x, y"),
        ([[1, 2], [3, 4]], r"rib R1 has 2 point\(s\); an outline has 3 or more"),
        ([[1, 2], [3, 4], [5, float("nan")]], "not finite"),
    ],
)
def test_what_is_no_outline_is_one_line(values: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_points(values, "rib R1")


def test_an_outline_beyond_the_image_or_in_fractions_is_refused() -> None:
    square = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float)
    check_points(square * 60, HEIGHT, WIDTH, "rib R1")
    for wrong, message in ((square + WIDTH, "rib R1 lies outside of its 53 x 37 image"), (square - 1, "lies outside"),
                           (square * 0.9, "as fractions of the image would")):  # fmt: skip
        with pytest.raises(UserError, match=message):
            check_points(wrong, HEIGHT, WIDTH, "rib R1")
    with pytest.raises(UserError, match="has no area"):
        ellipse_counts([Box(1, 1, 0, 5)], HEIGHT, WIDTH)
    with pytest.raises(UserError, match="more than the limit"):
        polygon_counts([], 1 << 20, 1 << 20)
