"""The augmentation of PaCX-MAE's stage 2: what its code does to an image (its paper lists none)."""

import math

import torch
from torch import Tensor

from cxrbench.encoder import Preprocess
from cxrbench.encoders.pretraining.augment import affine, blur, erase, jitter, random_resized_crop
from cxrbench.encoders.pretraining.method import Draw

ENLARGED = 320 / 224  # of the images that are cropped
ENLARGED_SOURCE = "PACX-MAE:Data/data_modules.py: 224 px out of Symile-MIMIC's 320"
CROP_AREA, CROP_RATIO = (0.75, 1.0), (0.85, 1.15)
TURN, SHIFT, ZOOM = 10.0, 0.1, (0.9, 1.1)  # degrees, share of the side, factor
JITTER = 0.2
KERNEL = 5  # pixels, of the blur
SIGMA = (0.1, 2.0)  # pixels, torchvision's default
ERASED_AREA, ERASED_RATIO = (0.02, 0.1), (0.3, 3.3)
AFFINE_P, JITTER_P, BLUR_P, ERASE_P = 0.6, 0.3, 0.15, 0.25


def augment(images: Tensor, preprocess: Preprocess, draw: Draw) -> Tensor:
    """Normalised images [B, C, D, D] to others, [B, C, S, S] with S of ``preprocess``.

    On pixels in [0, 1]: RandomResizedCrop; with p .6 a rotation, shift and scaling; with p .3 brightness and contrast;
    with p .15 a blur. Then, normalised again, with p .25 one box becomes 0; its ratio is width / height, where
    torchvision's is height / width (.3 to 3.3 is next to the same either way). Images are ENLARGED times as large as
    what leaves, or as large.
    """
    mean, std = (torch.tensor(v, device=images.device)[:, None, None] for v in (preprocess.mean, preprocess.std))
    u = draw.rand(len(images), 16).to(images.device)
    pixels = random_resized_crop(images * std + mean, draw, CROP_AREA, CROP_RATIO, size=preprocess.size).clamp(0, 1)
    moved = affine(pixels, TURN * (2 * u[:, 0] - 1), SHIFT * (2 * u[:, 1:3] - 1), between(ZOOM, u[:, 3]))
    pixels = chosen(u[:, 4] < AFFINE_P, moved, pixels)
    brightness, contrast = (1 + JITTER * (2 * u[:, 5:7] - 1)).unbind(1)
    pixels = chosen(u[:, 8] < JITTER_P, jitter(pixels, brightness, contrast, u[:, 7] < 0.5), pixels)
    pixels = chosen(u[:, 10] < BLUR_P, blur(pixels, between(SIGMA, u[:, 9]), KERNEL), pixels)
    area = between(ERASED_AREA, u[:, 11])
    ratio = torch.exp(between((math.log(ERASED_RATIO[0]), math.log(ERASED_RATIO[1])), u[:, 12]))
    width, height = (area * ratio).sqrt(), (area / ratio).sqrt()
    erased = torch.where(u[:, 15] < ERASE_P, width, 0)
    return erase((pixels - mean) / std, u[:, 13] * (1 - width), u[:, 14] * (1 - height), erased, height)


def between(bounds: tuple[float, float], u: Tensor) -> Tensor:
    """Uniform numbers in [0, 1) stretched to ``bounds``."""
    return bounds[0] + (bounds[1] - bounds[0]) * u


def chosen(which: Tensor, these: Tensor, those: Tensor) -> Tensor:
    """Of two batches of images, image by image, the first where ``which`` [B]."""
    return torch.where(which[:, None, None, None], these, those)
