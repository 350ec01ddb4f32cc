"""What an encoder saw at a place lies at that place of the picture, however the image came to its square."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cxrbench.data.decode.preprocess import prepare
from cxrbench.encoder import Preprocess
from cxrbench.looking.places import on_image


@pytest.mark.parametrize("resize", ["squash", "pad", "crop"])
@pytest.mark.parametrize("shape", [(300, 200), (200, 300), (240, 240)])
def test_a_bright_spot_is_found_again(resize: str, shape: tuple[int, int]) -> None:
    preprocess = Preprocess(128, resize, (0.0,), (1.0,), 1, crop_pct=0.875 if resize == "crop" else 1.0)  # type: ignore[arg-type]
    for y, x in ((0.5, 0.5), (0.35, 0.6), (0.7, 0.4)):
        image = np.zeros(shape, np.float32)
        row, column = round(y * shape[0]), round(x * shape[1])
        image[row - 8 : row + 8, column - 8 : column + 8] = 1
        cells = F.avg_pool2d(prepare(image, preprocess), 8)[0].double().numpy()  # 16 x 16 of 8 pixels
        height, width = (side // 2 for side in shape)
        found = on_image(cells, preprocess, shape, (height, width))
        weight = np.nan_to_num(found)
        centre = [(weight * axis).sum() / weight.sum() for axis in np.mgrid[:height, :width]]
        np.testing.assert_allclose(centre, [row / 2 - 0.5, column / 2 - 0.5], atol=2)


def test_what_was_cut_off_has_no_value_and_nothing_else_lacks_one() -> None:
    values = np.ones((4, 4))
    cut = on_image(values, Preprocess(64, "crop"), (200, 100), (100, 50))
    assert np.isnan(cut[:24]).all()
    assert np.isnan(cut[-24:]).all()
    np.testing.assert_array_equal(cut[26:74], 1)
    for resize in ("squash", "pad"):
        np.testing.assert_allclose(on_image(values, Preprocess(64, resize), (200, 100), (100, 50)), 1)


def test_between_cells_it_is_linear_and_beyond_the_outermost_constant() -> None:
    values = np.array([[0.0, 1.0], [2.0, 3.0]])
    found = on_image(values, Preprocess(8, "squash"), (8, 8), (8, 8))
    expected = F.interpolate(torch.tensor(values)[None, None], (8, 8), mode="bilinear", align_corners=False)[0, 0]
    np.testing.assert_allclose(found, expected.numpy())
    assert on_image(np.ones((1, 1)), Preprocess(8, "squash"), (5, 5), (3, 3)).shape == (3, 3)
