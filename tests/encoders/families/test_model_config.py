"""Our preprocessing of a gray image against the pipeline of the library that each model was published with."""

from typing import Any

import numpy as np
import pytest
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from timm.data.transforms_factory import create_transform
from transformers import BitImageProcessor, ViTImageProcessor

from cxrbench.data.decode.preprocess import prepare
from cxrbench.encoder import Preprocess
from cxrbench.encoders.families.model_config import four_blocks, hf_preprocess, open_clip_preprocess, timm_preprocess
from cxrbench.errors import UserError

MEAN, STD = (0.5307,) * 3, (0.2583,) * 3
STEPS = 2.0  # of 8 bits: the libraries round to bytes after resizing along each axis, we do not


@pytest.fixture(scope="module", params=[(302, 260), (180, 333)])
def image(request: pytest.FixtureRequest) -> Image.Image:
    height, width = request.param
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).normal(0, 6, (height, width))
    return Image.fromarray(np.clip(128 + 90 * np.sin(x / 17) * np.cos(y / 23) + noise, 0, 255).astype(np.uint8))


def assert_agrees(image: Image.Image, preprocess: Preprocess, expected: Any) -> None:
    got = prepare(np.asarray(image, np.float32) / np.float32(255), preprocess)
    assert got.shape == expected.shape
    assert (got - expected).abs().max() < STEPS / 255 / min(preprocess.std)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("mode", "crop_pct"), [("center", 0.875), ("center", 1.0), ("squash", 1.0)])
def test_timm(image: Image.Image, mode: str, crop_pct: float, interpolation: str) -> None:
    config: dict[str, Any] = {
        "input_size": (3, 112, 112),
        "interpolation": interpolation,
        "crop_mode": mode,
        "crop_pct": crop_pct,
        "mean": MEAN,
        "std": STD,
    }
    transform: Any = create_transform(**config, is_training=False)
    expected = transform(image.convert("RGB"))
    assert_agrees(image, timm_preprocess(config), expected)


@pytest.mark.parametrize("mode", ["shortest", "squash", "longest"])
def test_open_clip(image: Image.Image, mode: str) -> None:
    config = PreprocessCfg(size=112, mean=MEAN, std=STD, resize_mode=mode)
    transform: Any = image_transform_v2(config, is_train=False)
    expected = transform(image)
    assert_agrees(image, open_clip_preprocess(config.__dict__), expected)


@pytest.mark.parametrize(
    "processor",
    [
        ViTImageProcessor(size={"height": 112, "width": 112}, resample=2, image_mean=MEAN, image_std=STD),
        BitImageProcessor(
            size={"shortest_edge": 128},
            crop_size={"height": 112, "width": 112},
            resample=3,
            image_mean=MEAN,
            image_std=STD,
        ),
    ],
    ids=["squash", "crop"],
)
def test_transformers(image: Image.Image, processor: Any) -> None:
    expected = processor(image.convert("RGB"), return_tensors="pt")["pixel_values"][0]
    assert_agrees(image, hf_preprocess(processor.to_dict()), expected)


def test_what_ours_cannot_express_is_refused() -> None:
    good: dict[str, Any] = {"size": 112, "resize_mode": "squash", "interpolation": "bicubic", "mean": MEAN, "std": STD}
    assert open_clip_preprocess(good).size == 112
    for wrong in ({"size": (112, 96)}, {"interpolation": "random"}, {"resize_mode": "tile"}):
        with pytest.raises(UserError, match="supported"):
            open_clip_preprocess(good | wrong)


def test_four_blocks() -> None:
    assert [four_blocks(depth) for depth in (4, 6, 12, 24)] == [
        [0, 1, 2, 3],
        [1, 2, 4, 5],
        [2, 5, 8, 11],
        [5, 11, 17, 23],
    ]
