"""From an image file to the tensor that an encoder wants."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cxrbench.data.decode.images import MAX_PIXELS, UseDecoded, use_decoded
from cxrbench.encoder import Preprocess

MAX_ASPECT = 16


def load_image(
    path: Path, preprocess: Preprocess, *, max_pixels: int = MAX_PIXELS, use: UseDecoded = use_decoded
) -> Tensor:
    """Decode and prepare one file: float32 [channels, size, size]. Raises BadImageError.

    ``use``: ``use_decoded``, or what gives the same images otherwise.
    """
    return use(path, lambda image: prepare(image, preprocess), max_pixels=max_pixels)


def prepare(image: NDArray[np.float32], preprocess: Preprocess) -> Tensor:
    """Resize (antialiased), cut or pad, and normalise a gray image [H, W] in [0, 1].

    Returns float32 [channels, size, size]. The same numbers as torchvision's Resize(antialias=True), CenterCrop and
    Normalize on a float tensor, clamped to [0, 1] between resizing (bicubic overshoots) and normalising.
    """
    return normalised(_to_square(torch.from_numpy(image), preprocess), preprocess)


def normalised(square: Tensor, preprocess: Preprocess) -> Tensor:
    """A gray square [1, S, S] in [0, 1] as the encoder wants it: float32 [channels, S, S]."""
    mean, std = (torch.tensor(v, dtype=torch.float32)[:, None, None] for v in (preprocess.mean, preprocess.std))
    return ((square - mean) / std).expand(preprocess.channels, -1, -1).contiguous()


def _to_square(image: Tensor, preprocess: Preprocess) -> Tensor:
    """Bring a gray image [H, W] to [size, size]."""
    size = preprocess.size
    if preprocess.resize == "squash":
        return _resized(image, size, size, preprocess.interpolation)
    if preprocess.resize == "pad":
        longer = max(image.shape)
        height, width = (max(1, round(size * side / longer)) for side in image.shape)
        top, left = (size - height) // 2, (size - width) // 2
        whole = _resized(image, height, width, preprocess.interpolation)
        return F.pad(whole, (left, size - width - left, top, size - height - top))
    image = _without_long_ends(image)
    shorter, target = min(image.shape), int(size / preprocess.crop_pct)
    height, width = (int(target * side / shorter) for side in image.shape)
    top, left = int(round((height - size) / 2.0)), int(round((width - size) / 2.0))
    whole = _resized(image, height, width, preprocess.interpolation)
    return whole[top : top + size, left : left + size]


def _without_long_ends(image: Tensor) -> Tensor:
    """Cut what a centre crop drops anyway from a very thin image, so that 1 x 100,000 pixels do not fill the memory."""
    limit = MAX_ASPECT * min(image.shape)
    for axis, side in enumerate(image.shape):
        if side > limit:
            image = image.narrow(axis, (side - limit) // 2, limit)
    return image


def _resized(image: Tensor, height: int, width: int, interpolation: str) -> Tensor:
    """Resize [H, W] with an antialiasing filter and clamp to [0, 1]."""
    if image.shape == (height, width):
        return image
    whole = F.interpolate(image[None, None], (height, width), mode=interpolation, antialias=True, align_corners=False)
    return whole[0, 0].clamp_(0, 1)
