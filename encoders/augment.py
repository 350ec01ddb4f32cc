"""The one augmentation that some pretraining methods ask for, on whole batches and from an explicit draw."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from cxrbench.encoders.method import Draw


def random_resized_crop_and_flip(images: Tensor, draw: Draw, scale: tuple[float, float] = (0.2, 1.0)) -> Tensor:
    """``random_resized_crop``, and a horizontal flip with probability ½: heart and liver change sides."""
    return random_resized_crop(images, draw, scale, flips=0.5)


def random_resized_crop(
    images: Tensor,
    draw: Draw,
    scale: tuple[float, float],
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    flips: float = 0.0,
) -> Tensor:
    """RandomResizedCrop (area ``scale``, log-uniform aspect ``ratio``, bicubic), flipped with probability ``flips``.

    images: [B, C, S, S], square; the same shape comes back. A crop that would not fit is shortened to the image's side,
    where torchvision draws again.
    """
    u = draw.rand(len(images), 5).to(images.device)
    area = scale[0] + u[:, 0] * (scale[1] - scale[0])
    aspect = torch.exp(math.log(ratio[0]) + u[:, 1] * (math.log(ratio[1]) - math.log(ratio[0])))
    width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    left, top = u[:, 2] * (1 - width), u[:, 3] * (1 - height)
    return crop_resize(images, left, top, width, height, flip=u[:, 4] < flips)


def crop_resize(images: Tensor, left: Tensor, top: Tensor, width: Tensor, height: Tensor, flip: Tensor) -> Tensor:
    """Cut one box per image (each [B], as shares of the side), resize it to the image (bicubic), flip where told."""
    sign = torch.where(flip, -1.0, 1.0)
    zero = torch.zeros_like(width)
    x = torch.stack([width * sign, zero, 2 * left + width - 1], dim=1)
    y = torch.stack([zero, height, 2 * top + height - 1], dim=1)
    grid = F.affine_grid(torch.stack([x, y], dim=1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid.to(images.dtype), mode="bicubic", padding_mode="border", align_corners=False)
