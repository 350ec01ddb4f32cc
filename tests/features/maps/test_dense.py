"""Geometry of the encoder's square: masks, boxes, scores and images all go to the same place."""

from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cxrbench.data.decode.preprocess import prepare
from cxrbench.encoder import Preprocess
from cxrbench.features.maps.dense import Geometry, dense_preprocess

Resize = Literal["squash", "pad"]
sides = st.integers(3, 90)
resizes = st.sampled_from(["squash", "pad"])


def plain(size: int, resize: Resize) -> Preprocess:
    return Preprocess(size, resize, mean=(0.0,), std=(1.0,), channels=1)


def drawn(box: np.ndarray, height: int, width: int) -> np.ndarray:
    """How much of each pixel a box (x, y, w, h) covers: the definition, written down axis by axis."""

    def axis(first: float, length: float, n: int) -> np.ndarray:
        edges = np.arange(n + 1)
        return np.diff(np.clip(edges, first, first + length))

    return np.outer(axis(box[1], box[3], height), axis(box[0], box[2], width))


@given(sides, sides, st.integers(4, 64), resizes, st.data())
def test_a_box_drawn_as_a_mask_goes_where_the_box_goes(
    height: int, width: int, size: int, resize: Resize, data: st.DataObject
) -> None:
    geometry = Geometry.of(plain(size, resize), height, width)
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = np.array([[x, y, data.draw(st.integers(1, width - x)), data.draw(st.integers(1, height - y))]], float)
    mask = np.zeros((height, width), bool)
    mask[y : y + int(box[0, 3]), x : x + int(box[0, 2])] = True
    moved = geometry.boxes_to_square(box)
    np.testing.assert_allclose(geometry.mask_to_square(mask), drawn(moved[0], size, size), atol=1e-5)
    np.testing.assert_allclose(geometry.boxes_to_native(moved), box, atol=1e-9)


@given(sides, sides, st.integers(4, 64), resizes)
def test_a_whole_mask_covers_the_image_and_not_the_padding(height: int, width: int, size: int, resize: Resize) -> None:
    preprocess = plain(size, resize)
    covered = Geometry.of(preprocess, height, width).mask_to_square(np.ones((height, width), bool))
    image = prepare(np.ones((height, width), np.float32), preprocess)[0].numpy()
    np.testing.assert_allclose(covered, image, atol=1e-5)


@pytest.mark.parametrize("resize", ["squash", "pad"])
@pytest.mark.parametrize(("height", "width"), [(400, 300), (250, 411), (64, 64), (40, 31)])
def test_an_image_lands_where_geometry_says(height: int, width: int, resize: Resize) -> None:
    preprocess = plain(64, resize)
    y, x, h, w = height // 3, width // 2, max(height // 8, 2), max(width // 5, 2)
    image = np.zeros((height, width), np.float32)
    image[y : y + h, x : x + w] = 1
    square = prepare(image, preprocess)[0].numpy()
    geometry = Geometry.of(preprocess, height, width)
    box = geometry.boxes_to_square(np.array([[x, y, w, h]], float))[0]
    rows, columns = np.arange(64)[:, None] + 0.5, np.arange(64) + 0.5
    total = square.sum()
    assert abs((square * columns).sum() / total - (box[0] + box[2] / 2)) < 0.1
    assert abs((square * rows).sum() / total - (box[1] + box[3] / 2)) < 0.1
    assert abs(total - box[2] * box[3]) < 0.03 * total
    covered = geometry.mask_to_square(image)
    assert np.minimum(covered, square).sum() > 0.85 * total  # the image's filter is wider than a pixel


def test_equal_sizes_are_the_identity() -> None:
    geometry = Geometry.of(plain(32, "pad"), 32, 32)
    mask = np.random.default_rng(0).random((32, 32)) < 0.3
    assert np.array_equal(geometry.mask_to_square(mask), mask.astype(np.float32))
    scores = torch.rand(2, 32, 32)
    assert torch.equal(geometry.scores_to_native(scores), scores)


@pytest.mark.parametrize("resize", ["squash", "pad"])
@pytest.mark.parametrize("side", [64, 16])
def test_scores_come_back_to_the_native_image(resize: Resize, side: int) -> None:
    geometry = Geometry.of(plain(64, resize), 200, 120)
    y, x = np.mgrid[:64, :64] + 0.5
    native_y, native_x = (y - geometry.top) / geometry.scale_y, (x - geometry.left) / geometry.scale_x
    scores = torch.from_numpy(np.stack([native_y, native_x]))  # a pixel's score is its own native coordinate
    scores = torch.nn.functional.avg_pool2d(scores, 64 // side)
    back = geometry.scores_to_native(scores).numpy()
    assert back.shape == (2, 200, 120)
    margin = 2 * max(200, 120) // side  # at the edges bilinear interpolation has one neighbour only
    expected = np.mgrid[:200, :120] + 0.5
    inner = (slice(None), slice(margin, -margin), slice(margin, -margin))
    np.testing.assert_allclose(back[inner], expected[inner], atol=1e-3)


def test_padding_does_not_leak_into_the_image() -> None:
    geometry = Geometry.of(plain(32, "pad"), 100, 50)
    scores = torch.full((1, 32, 32), 9.0)
    scores[:, :, 8:24] = 1
    assert (geometry.scores_to_native(scores) == 1).all()


def test_wrong_size_is_refused() -> None:
    with pytest.raises(ValueError, match="mask of"):
        Geometry.of(plain(32, "pad"), 100, 50).mask_to_square(np.zeros((50, 100), bool))
    with pytest.raises(ValueError, match="crop"):
        Geometry.of(Preprocess(32, "crop"), 100, 50)
    assert dense_preprocess(Preprocess(32, "crop", crop_pct=0.9)) == Preprocess(32, "pad", crop_pct=1.0)
