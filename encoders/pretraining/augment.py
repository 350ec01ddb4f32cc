"""The augmentations that pretraining methods ask for, on whole batches and from explicit numbers."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from cxrbench.encoders.pretraining.method import Draw


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


def affine(images: Tensor, degrees: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Rotate about the centre (clockwise), scale, and shift images [B, C, S, S]; bilinear, zeros where nothing is.

    degrees, scale: [B]; shift: [B, 2], to the right and down, as shares of the side.
    """
    angle = torch.deg2rad(degrees)
    cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
    x, y = (2 * shift).unbind(1)  # of a side that is 2 long
    rows = [
        torch.stack([cosine, sine, -(cosine * x + sine * y)], 1),
        torch.stack([-sine, cosine, sine * x - cosine * y], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid.to(images.dtype), mode="bilinear", padding_mode="zeros", align_corners=False)


def blur(images: Tensor, sigma: Tensor, kernel: int = 5) -> Tensor:
    """Gaussian blur of images [B, C, S, S], each by its own ``sigma`` [B] in pixels; mirrored beyond the border."""
    batch, channels = images.shape[:2]
    away = torch.arange(kernel, device=images.device) - kernel // 2
    line = torch.softmax(-(away**2) / (2 * sigma[:, None] ** 2), dim=1).repeat_interleave(channels, 0)
    weights = (line[:, :, None] * line[:, None, :])[:, None].to(images.dtype)
    wide = F.pad(images, [kernel // 2] * 4, mode="reflect").flatten(0, 1)[None]
    return F.conv2d(wide, weights, groups=batch * channels).view_as(images)


def erase(images: Tensor, left: Tensor, top: Tensor, width: Tensor, height: Tensor) -> Tensor:
    """Images [B, C, S, S] with one box each set to 0, sides [B] as shares of the image's; no width, no box."""
    side = images.shape[-1]
    centre = (torch.arange(side, device=images.device) + 0.5) / side
    across = (centre >= left[:, None]) & (centre < (left + width)[:, None])
    down = (centre >= top[:, None]) & (centre < (top + height)[:, None])
    return images.masked_fill((down[:, :, None] & across[:, None, :])[:, None], 0.0)


def jitter(images: Tensor, brightness: Tensor, contrast: Tensor, brightness_first: Tensor) -> Tensor:
    """torchvision's adjust_brightness and adjust_contrast by factors [P], in either order [P], of images in [0, 1]."""
    brightness, contrast = brightness[:, None, None, None], contrast[:, None, None, None]

    def brighter(x: Tensor) -> Tensor:
        return (x * brightness).clamp(0, 1)

    def steeper(x: Tensor) -> Tensor:
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        return (x * contrast + mean * (1 - contrast)).clamp(0, 1)

    order = brightness_first[:, None, None, None]
    return torch.where(order, steeper(brighter(images)), brighter(steeper(images)))
