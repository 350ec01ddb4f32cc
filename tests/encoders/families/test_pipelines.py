"""Images as timm, transformers and open_clip prepare them with their own code, beside ours: alike but for rounding.

Theirs resize 8-bit pixels and round to 8 bits; ours resizes floating-point numbers. So a pixel may differ by rounding,
and by a little more where bicubic overshoots at an edge.
"""

from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch
import transformers
from PIL import Image
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform

from cxrbench.data.decode.preprocess import prepare
from cxrbench.encoder import Preprocess
from cxrbench.encoders.families.model_config import hf_preprocess, open_clip_preprocess, timm_preprocess

LEVELS = 1.6  # of 255


def radiograph(height: int, width: int) -> np.ndarray:
    """An 8-bit picture with smooth areas, edges and noise."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    smooth = 120 + 80 * np.sin(x / 37) * np.cos(y / 51)
    edges = np.where((x // 60 + y // 45) % 2 > 0, 25.0, -25.0)
    noise = np.random.default_rng(0).normal(0, 6, (height, width))
    return np.clip(smooth + edges + noise, 0, 255).astype(np.uint8)


def largest_difference(theirs: torch.Tensor, image: np.ndarray, preprocess: Preprocess) -> float:
    """In levels of 255, whatever the normalization."""
    ours = prepare((image / 255).astype(np.float32), preprocess)
    assert ours.shape == theirs.shape
    std = torch.tensor(preprocess.std)[:, None, None]
    return float(((ours - theirs).abs() * std).max() * 255)


PICTURES = [(700, 560), (520, 520), (480, 640)]


@pytest.mark.parametrize("shape", PICTURES)
@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224", "deit_tiny_patch16_224"])
def test_timm(name: str, shape: tuple[int, int]) -> None:
    config = resolve_model_data_config(timm.create_model(name, pretrained=False), use_test_size=True)
    image = radiograph(*shape)
    theirs: Any = create_transform(**config, is_training=False)
    pixels = theirs(Image.fromarray(image).convert("RGB"))
    assert largest_difference(pixels, image, timm_preprocess(config)) < LEVELS


PROCESSORS = {
    "rad-dino": ("BitImageProcessor", {"size": {"shortest_edge": 518}, "crop_size": {"height": 518, "width": 518},
                 "do_center_crop": True, "resample": 3, "image_mean": [0.5307] * 3, "image_std": [0.2583] * 3}),
    "siglip": ("SiglipImageProcessor", {"size": {"height": 448, "width": 448}, "resample": 2,
               "image_mean": [0.5] * 3, "image_std": [0.5] * 3}),
    "clip": ("CLIPImageProcessor", {"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224},
             "do_center_crop": True, "resample": 3, "image_mean": [0.48145466, 0.4578275, 0.40821073],
             "image_std": [0.26862954, 0.26130258, 0.27577711]}),
    "dinov3": ("DINOv3ViTImageProcessor", {"size": {"height": 224, "width": 224}, "resample": 2,
               "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}),
}  # fmt: skip


@pytest.mark.parametrize("shape", PICTURES[:2])
@pytest.mark.parametrize("name", PROCESSORS)
def test_transformers(name: str, shape: tuple[int, int]) -> None:
    kind, facts = PROCESSORS[name]
    facts = facts | {"do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
    processor: Any = getattr(transformers, kind, None) or getattr(transformers, f"{kind}Fast")
    processor = processor(**facts)
    image = radiograph(*shape)
    pixels = processor(Image.fromarray(image).convert("RGB"), return_tensors="pt")["pixel_values"][0]
    assert largest_difference(pixels, image, hf_preprocess(processor.to_dict())) < LEVELS


@pytest.mark.parametrize("mode", ["shortest", "squash", "longest"])
def test_open_clip(mode: str) -> None:
    config = {
        "size": 224, "mode": "RGB", "mean": (0.48145466, 0.4578275, 0.40821073), "resize_mode": mode, "fill_color": 0,
        "std": (0.26862954, 0.26130258, 0.27577711), "interpolation": "bicubic",
    }  # fmt: skip
    theirs: Any = open_clip.transform.image_transform_v2(open_clip.transform.PreprocessCfg(**config), is_train=False)
    image = radiograph(700, 560)
    pixels = theirs(Image.fromarray(image).convert("RGB"))
    assert largest_difference(pixels, image, open_clip_preprocess(config)) < LEVELS
