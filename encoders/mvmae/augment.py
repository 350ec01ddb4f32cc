"""MVMAE's augmentation of gray images: a square crop, a flip, brightness and contrast."""

import torch
from torch import Tensor

from cxrbench.encoders.pretraining.augment import FLIPS, crop_resize, jitter

NUMBERS = 8  # uniform numbers that one image takes
PLACE = 4  # the first of them: where it is cut, and whether it is turned
SCALE = (0.5, 1.0)  # of the crop's area
SQUARE = (1.0, 1.0)  # its aspect
STRENGTH, PROBABILITY = 0.4, 0.8  # of the colour jitter


def augment(images: Tensor, u: Tensor, *, flip: bool, size: int | None = None) -> Tensor:
    """RandomResizedCrop (area 0.5 to 1, square), horizontal flip (p ½, if ``flip``), ColorJitter(.4, .4) (p .8).

    images: [P, 1, D, D] in [0, 1] to [P, 1, size, size] (D, where none is given); u: uniform [P, NUMBERS]. On gray
    images the official jitter of saturation and hue does nothing. Flipping breaks laterality: heart and liver
    change sides.
    """
    side = (SCALE[0] + (SCALE[1] - SCALE[0]) * u[:, 0]).sqrt()
    left, top = u[:, 1] * (1 - side), u[:, 2] * (1 - side)
    turned = (u[:, 3] < FLIPS) & flip
    cut = crop_resize(images, left, top, side, side, flip=turned, size=size).clamp(0, 1)
    brightness, contrast = (1 + STRENGTH * (2 * u[:, 4:6] - 1)).unbind(1)
    jittered = jitter(cut, brightness, contrast, u[:, 7] < 0.5)
    return torch.where((u[:, 6] < PROBABILITY)[:, None, None, None], jittered, cut)
