"""Augmentation: an image, its masks and its boxes move together."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from cxrbench.data.decode.preprocess import prepare
from cxrbench.encoder import Preprocess
from cxrbench.features.augmentation import RANGES, Augmentation, augmentation

SIZE = 96
MOVES = [
    Augmentation(flip=True),
    Augmentation(rotation=20),
    Augmentation(scale=1.2, shift_x=0.05, shift_y=-0.1),
    Augmentation(flip=True, rotation=-9, scale=0.9, shift_x=-0.04, shift_y=0.06),
    *(augmentation(0, "image", copy) for copy in (1, 2, 3)),
]


def ellipse(box: np.ndarray) -> torch.Tensor:
    """The ellipse inscribed in a box, as a mask drawn 8 x finer and averaged."""
    fine = (np.arange(SIZE * 8) + 0.5) / 8
    centre, half = box[:2] + box[2:] / 2, box[2:] / 2
    inside = ((fine[:, None] - centre[1]) / half[1]) ** 2 + ((fine - centre[0]) / half[0]) ** 2 <= 1
    return torch.from_numpy(inside.reshape(SIZE, 8, SIZE, 8).mean((1, 3)).astype(np.float32))[None]


def extent(mask: torch.Tensor) -> np.ndarray:
    rows, columns = ndimage.find_objects((mask[0] > 0.5).numpy().astype(int))[0]
    return np.array([columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start])


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("box", [[30.0, 22.0, 20.0, 31.0], [52.0, 40.0, 15.0, 12.0]])
def test_image_mask_and_box_move_together(move: Augmentation, box: list[float]) -> None:
    mask = ellipse(np.array(box))
    moved = move.apply_mask(mask)
    np.testing.assert_allclose(extent(moved), move.apply_boxes(np.array([box]), SIZE)[0], atol=1.5)
    gray = replace(move, brightness=0.0, contrast=1.0)
    torch.testing.assert_close(gray.apply_image(mask), moved)


@pytest.mark.parametrize("move", MOVES)
def test_the_move_is_scipy_s(move: Augmentation) -> None:
    image = torch.from_numpy(ndimage.gaussian_filter(np.random.default_rng(0).random((SIZE, SIZE)), 2))[None]
    linear, shift = move.matrix[:, :2], move.matrix[:, 2] * SIZE
    flip = np.array([[0, 1], [1, 0]])  # scipy counts (row, column)
    back, centre = np.linalg.inv(flip @ linear @ flip), (SIZE - 1) / 2
    offset = centre - back @ (centre + flip @ shift)
    options: dict[str, Any] = {"offset": offset, "order": 1, "mode": "grid-constant"}
    expected = ndimage.affine_transform(image[0].numpy(), back, **options)
    np.testing.assert_allclose(move._moved(image)[0].numpy(), expected, atol=1e-9)


def test_nothing_is_left_as_it_is() -> None:
    image = torch.rand(3, SIZE, SIZE)
    assert augmentation(3, "image", 0) == Augmentation()
    assert torch.equal(Augmentation().apply_image(image), image)
    boxes = np.array([[3.0, 4.0, 5.0, 6.0]])
    np.testing.assert_allclose(Augmentation().apply_boxes(boxes, SIZE), boxes)


def test_draws_depend_on_all_three_and_stay_in_range() -> None:
    base = augmentation(0, "image", 1)
    assert base == augmentation(0, "image", 1)
    assert base not in (augmentation(1, "image", 1), augmentation(0, "image2", 1), augmentation(0, "image", 2))
    many = [augmentation(0, f"image{i}", 1) for i in range(500)]
    assert not any(m.flip for m in many)
    for name, low, high in [("rotation", -10, 10), ("scale", 1 / 1.1, 1.1), ("shift_x", -0.05, 0.05),
                            ("brightness", -0.1, 0.1), ("contrast", 1 / 1.2, 1.2)]:  # fmt: skip
        values = [getattr(m, name) for m in many]
        assert low <= min(values) < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < max(values) <= high
    flipped = [augmentation(0, f"image{i}", 1, replace(RANGES, flip=True)).flip for i in range(500)]
    assert 200 < sum(flipped) < 300


def test_normalised_images_are_treated_as_gray_ones() -> None:
    image = np.random.default_rng(0).random((SIZE, SIZE), np.float32)
    preprocess = Preprocess(SIZE, "squash", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    move = augmentation(0, "image", 1)
    moved = move.apply_image(torch.from_numpy(image)[None])
    expected = prepare(moved[0].numpy(), preprocess)
    torch.testing.assert_close(move.apply_image(prepare(image, preprocess), preprocess), expected, atol=1e-5, rtol=0)
    black = torch.tensor([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225])
    away = Augmentation(shift_x=2.0).apply_image(prepare(image, preprocess), preprocess)
    torch.testing.assert_close(away, black[:, None, None].expand_as(away))


def test_boxes_that_leave_have_no_area() -> None:
    move = Augmentation(shift_x=0.5)
    boxes = move.apply_boxes(np.array([[60.0, 10.0, 20.0, 20.0], [40.0, 10.0, 20.0, 20.0]]), SIZE)
    assert boxes[0, 2] == 0
    np.testing.assert_allclose(boxes[1], [88, 10, 8, 20])
    assert move.apply_boxes(np.zeros((0, 4)), SIZE).shape == (0, 4)
