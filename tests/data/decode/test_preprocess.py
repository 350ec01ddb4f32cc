"""Preprocessing against torchvision's transforms."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, v2

from cxrbench.data.decode.preprocess import load_image, prepare
from cxrbench.encoder import Preprocess

MODES = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}
SHAPES = [(97, 131), (131, 97), (64, 64), (40, 33), (17, 200), (32, 32)]


def picture(shape: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(1).random(shape, np.float32)


def reference(image: np.ndarray, preprocess: Preprocess, resize: list[v2.Transform]) -> torch.Tensor:
    """torchvision's pipeline, clamped between resizing and normalising."""
    tensor = torch.from_numpy(image)[None]
    tensor = v2.Compose(resize)(tensor).clamp(0, 1).expand(preprocess.channels, -1, -1)
    mean, std = (list(v) if len(v) > 1 else list(v) * preprocess.channels for v in (preprocess.mean, preprocess.std))
    return v2.Normalize(mean, std)(tensor)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("interpolation", MODES)
@pytest.mark.parametrize("crop_pct", [1.0, 0.875, 0.9])
def test_crop_is_resize_and_centre_crop(shape: tuple[int, int], interpolation: str, crop_pct: float) -> None:
    base = Preprocess(32, "crop", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), crop_pct=crop_pct)
    preprocess = replace(base, interpolation=interpolation)
    resize = v2.Resize(int(32 / crop_pct), MODES[interpolation], antialias=True)
    expected = reference(picture(shape), preprocess, [resize, v2.CenterCrop(32)])
    torch.testing.assert_close(prepare(picture(shape), preprocess), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("interpolation", MODES)
def test_squash_ignores_the_aspect_ratio(shape: tuple[int, int], interpolation: str) -> None:
    preprocess = replace(Preprocess(48, "squash", channels=1), interpolation=interpolation)
    expected = reference(picture(shape), preprocess, [v2.Resize([48, 48], MODES[interpolation], antialias=True)])
    torch.testing.assert_close(prepare(picture(shape), preprocess), expected, atol=1e-5, rtol=0)


def test_pad_scales_the_longer_side_and_pads_with_black() -> None:
    preprocess = Preprocess(40, "pad", mean=(0.5,), std=(0.5,), channels=1)
    tensor = prepare(np.ones((60, 120), np.float32), preprocess)
    assert tensor.shape == (1, 40, 40)
    assert (tensor[:, 10:30] == 1).all()
    assert (tensor[:, :10] == -1).all()
    assert (tensor[:, 30:] == -1).all()
    image = picture((120, 60))
    expected = reference(image, preprocess, [v2.Resize([40, 20], antialias=True), v2.Pad([10, 0])])
    torch.testing.assert_close(prepare(image, preprocess), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (3, 7), (1, 3_000_000), (2_000_001, 2)])
def test_odd_shapes_stay_finite_and_small(resize: str, shape: tuple[int, int]) -> None:
    preprocess = replace(Preprocess(24, mean=(0.0,), std=(1.0,)), resize=resize)
    tensor = prepare(np.full(shape, 0.25, np.float32), preprocess)
    assert tensor.shape == (3, 24, 24)
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous()
    assert set(np.round(tensor.unique().tolist(), 5)) <= {0.0, 0.25}


def test_a_thin_image_keeps_its_centre() -> None:
    strip = np.zeros((4, 4001), np.float32)
    strip[:, 1996:2005] = 1
    preprocess = Preprocess(16, "crop", mean=(0.0,), std=(1.0,), channels=1)
    assert (prepare(strip, preprocess) == 1).all()


def test_one_statistic_serves_all_channels_and_the_image_is_not_changed() -> None:
    image = picture((32, 32))
    before = image.copy()
    tensor = prepare(image, Preprocess(32, mean=(0.5,), std=(0.25,)))
    torch.testing.assert_close(tensor[2], (torch.from_numpy(before) - 0.5) / 0.25)
    np.testing.assert_array_equal(image, before)
    per_channel = prepare(image, Preprocess(32, mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 1.0)))
    torch.testing.assert_close(per_channel[0] - per_channel[2], torch.full((32, 32), 0.2))


def test_load_image_is_deterministic_and_independent_of_threads(tmp_path: Path) -> None:
    Image.fromarray((picture((301, 257)) * 255).astype(np.uint8)).save(tmp_path / "a.jpg")
    preprocess = Preprocess(64)
    threads = torch.get_num_threads()
    first = load_image(tmp_path / "a.jpg", preprocess)
    torch.set_num_threads(1 if threads > 1 else 2)
    try:
        assert torch.equal(load_image(tmp_path / "a.jpg", preprocess), first)
    finally:
        torch.set_num_threads(threads)
