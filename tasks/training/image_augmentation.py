"""Augmentation of single images as recipes list it, each draw from (seed, epoch, image) alone."""

import hashlib
import math
import random
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from timm.data.auto_augment import rand_augment_transform
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as TF

from cxrbench.errors import UserError
from cxrbench.features.augmentation import augmentation

STEPS: Mapping[str, frozenset[str]] = {
    "random_resized_crop": frozenset({"ratio"}),
    "flip": frozenset(),
    "jitter": frozenset({"p"}),
    "affine": frozenset({"shift", "scale", "p"}),
    "blur": frozenset({"p"}),
    "noise": frozenset({"p"}),
    "gamma": frozenset({"p"}),
    "rand_augment": frozenset(),
    "mild": frozenset(),
}
"""A step is a table with one of these keys and some of its options."""
_GLOBAL_RANDOMNESS = threading.Lock()


def check_steps(steps: Sequence[Mapping[str, Any]]) -> None:
    """Raise UserError for a step that is not in ``STEPS``."""
    for step in steps:
        kinds = [key for key in step if key in STEPS]
        if len(kinds) != 1 or set(step) - {kinds[0]} - STEPS[kinds[0]]:
            raise UserError(f"augmentation {dict(step)} is not known; known steps: {', '.join(STEPS)}")


def generator(seed: int, epoch: int, image_id: str) -> np.random.Generator:
    """The random numbers of one image in one epoch, the same everywhere."""
    digest = hashlib.sha256(f"{seed}|{epoch}|{image_id}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def crop_box(
    height: int, width: int, area: Sequence[float], ratio: Sequence[float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """(top, left, height, width) of RandomResizedCrop (Szegedy et al. 2015), as torchvision draws it.

    A share ``area`` of the image with a log-uniform aspect ``ratio``; after ten draws that do not fit, the largest
    centred box whose aspect lies in ``ratio``.
    """
    for _ in range(10):
        target = height * width * rng.uniform(area[0], area[1])
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
        if 0 < w <= width and 0 < h <= height:
            return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
    w = min(width, round(height * ratio[1]))
    h = min(height, round(width / ratio[0]))
    return (height - h) // 2, (width - w) // 2, h, w


def random_resized_crop(
    image: NDArray[np.float32], size: int, step: Mapping[str, Any], interpolation: str, rng: np.random.Generator
) -> Tensor:
    """Cut a box out of a gray image [H, W] at full resolution and resize it: [1, size, size] in [0, 1]."""
    height, width = image.shape
    box = crop_box(height, width, step["random_resized_crop"], step.get("ratio", (3 / 4, 4 / 3)), rng)
    radiograph = torch.from_numpy(image)[None]
    return TF.resized_crop(radiograph, *box, [size, size], InterpolationMode(interpolation), antialias=True).clamp(0, 1)


def augment(
    image: Tensor, steps: Sequence[Mapping[str, Any]], rng: np.random.Generator, seed: int, image_id: str, epoch: int
) -> Tensor:
    """Apply the steps, in their order, to a square gray image [1, S, S] in [0, 1]; crops are made before (above).

    ``flip``: probability. ``jitter``: [brightness, contrast], factors uniform in 1 ± value, in random order.
    ``affine``: degrees, with ``shift`` (share of the side) and ``scale``. ``blur``: [σ from, to] in pixels. ``noise``:
    σ of Gaussian noise. ``gamma``: [from, to], the exponent of gray values. ``rand_augment``: timm's configuration
    string (Cubuk et al. 2020). ``mild``: the harness' own ``cxrbench.features.augmentation``, without flips.
    """
    for step in steps:
        if "random_resized_crop" in step or ("p" in step and rng.random() >= step["p"]):
            continue
        if "flip" in step:
            image = TF.horizontal_flip(image) if rng.random() < step["flip"] else image
        elif "jitter" in step:
            image = _jitter(image, step["jitter"], rng)
        elif "affine" in step:
            side = image.shape[-1]
            shift = [float(rng.uniform(-1, 1) * step.get("shift", 0.0) * side) for _ in range(2)]
            angle = float(rng.uniform(-1, 1) * step["affine"])
            scale = float(1 + rng.uniform(-1, 1) * step.get("scale", 0.0))
            image = TF.affine(image, angle, shift, scale, [0.0, 0.0], InterpolationMode.BILINEAR)  # type: ignore[arg-type]
        elif "blur" in step:
            sigma = float(rng.uniform(*step["blur"]))
            image = TF.gaussian_blur(image, [2 * math.ceil(3 * sigma) + 1] * 2, [sigma, sigma])
        elif "noise" in step:
            image = image + step["noise"] * torch.from_numpy(rng.standard_normal(tuple(image.shape), np.float32))
        elif "gamma" in step:
            image = image ** float(rng.uniform(*step["gamma"]))
        elif "rand_augment" in step:
            image = _rand_augment(image, step["rand_augment"], rng)
        elif "mild" in step:
            image = augmentation(seed, image_id, epoch + 1).apply_image(image)
        image = image.clamp(0, 1)
    return image


def _jitter(image: Tensor, strength: Sequence[float], rng: np.random.Generator) -> Tensor:
    """Torchvision's ColorJitter of a gray image; hue and saturation would change nothing."""
    brightness, contrast = (float(rng.uniform(max(0.0, 1 - s), 1 + s)) for s in strength)
    if rng.random() < 0.5:
        return TF.adjust_contrast(TF.adjust_brightness(image, brightness), contrast)
    return TF.adjust_brightness(TF.adjust_contrast(image, contrast), brightness)


def _rand_augment(image: Tensor, config: str, rng: np.random.Generator) -> Tensor:
    """timm's RandAugment on the image as an 8-bit RGB image.

    timm draws from Python's and NumPy's global generators: they are seeded for this image, and put back.
    """
    gray = Image.fromarray((image[0].numpy() * 255).round().astype(np.uint8)).convert("RGB")
    seed = int(rng.integers(2**32))
    with _GLOBAL_RANDOMNESS:
        before = random.getstate(), np.random.get_state()
        try:
            random.seed(seed)
            np.random.seed(seed)
            moved = rand_augment_transform(config, {"translate_const": 100, "img_mean": (128, 128, 128)})(gray)
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])
    return torch.from_numpy(np.asarray(moved.convert("L"), np.float32) / 255)[None]
