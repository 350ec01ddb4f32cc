"""The augmentations that pretraining methods ask for, on whole batches and from explicit numbers."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from cxrbench.encoders.backbones.precision import full_precision
from cxrbench.encoders.pretraining.constants import Constant
from cxrbench.encoders.pretraining.method import Draw

LEAST_ENLARGED, MOST_ENLARGED = 1.25, 2.0
RATIO = (3 / 4, 4 / 3)  # aspects of a crop, torchvision's
FLIPS = 0.5  # chance of a flip
CROPPED, MOVED = "bicubic", "bilinear"  # how crops are resized, and what is rotated and shifted is sampled


def decode_size(size: int, area: float) -> int:
    """The side to decode images at of which crops of ``area`` (the least share) are resized to ``size`` pixels.

    1 / sqrt(area) times ``size``, so that the smallest crop has all its pixels, rounded up to quarters; 1.25 times at
    least and 2 times at most: 1.5 for half of the image, 2 for a fifth, whose crops have 90% of the pixels.
    """
    factor = math.ceil(4 / math.sqrt(area)) / 4
    return round(size * min(MOST_ENLARGED, max(LEAST_ENLARGED, factor)))


def crop_constants(area: tuple[float, float], read: object, ratio: tuple[float, float] = RATIO) -> dict[str, Constant]:
    """Of random crops, where they are cut (``read``)."""
    return {
        "crop_area": Constant(area, read),
        "crop_ratio": Constant(ratio, read),
        "crop_filter": Constant(CROPPED, read),
    }


def flip_constant(read: object) -> dict[str, Constant]:
    """Of horizontal flips, where there are any."""
    return {"flip_chance": Constant(FLIPS, read)}


def random_resized_crop_and_flip(
    images: Tensor, draw: Draw, scale: tuple[float, float] = (0.2, 1.0), size: int | None = None
) -> Tensor:
    """``random_resized_crop``, and a horizontal flip with probability ½: heart and liver change sides."""
    return random_resized_crop(images, draw, scale, flips=FLIPS, size=size)


def random_resized_crop(
    images: Tensor,
    draw: Draw,
    scale: tuple[float, float],
    ratio: tuple[float, float] = RATIO,
    flips: float = 0.0,
    size: int | None = None,
) -> Tensor:
    """RandomResizedCrop (area ``scale``, log-uniform aspect ``ratio``, bicubic), flipped with probability ``flips``.

    images: [B, C, D, D], square, to [B, C, size, size]; D, where no size is given. A crop that would not fit is
    shortened to the image's side, where torchvision draws again.
    """
    u = draw.rand(len(images), 5).to(images.device)
    area = scale[0] + u[:, 0] * (scale[1] - scale[0])
    aspect = torch.exp(math.log(ratio[0]) + u[:, 1] * (math.log(ratio[1]) - math.log(ratio[0])))
    width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    left, top = u[:, 2] * (1 - width), u[:, 3] * (1 - height)
    return crop_resize(images, left, top, width, height, flip=u[:, 4] < flips, size=size)


def crop_resize(
    images: Tensor, left: Tensor, top: Tensor, width: Tensor, height: Tensor, flip: Tensor, size: int | None = None
) -> Tensor:
    """Cut one box per image (each [B], as shares of the side), resize it to ``size`` pixels, flip where told.

    images: float32 [B, C, D, D] to [B, C, size, size]. Bicubic with an antialiasing filter that sees the box alone:
    torchvision's ``resized_crop(antialias=True)``, whose boxes are of whole pixels; ours may lie between them.
    """
    (batch, channels, side), size = images.shape[:3], size or images.shape[3]
    across, down = (
        resampling(left, width, side, size, flip),
        resampling(top, height, side, size, torch.zeros_like(flip)),
    )
    with full_precision(images.device):
        narrow = (images.flatten(1, 2) @ across.mT).view(batch, channels, side, size)
        cut = down @ narrow.transpose(1, 2).flatten(2)
    return cut.view(batch, size, channels, size).transpose(1, 2)


def resampling(start: Tensor, length: Tensor, source: int, target: int, flip: Tensor) -> Tensor:
    """How much each of ``source`` pixels of a line counts in each of ``target``: [B, target, source], rows sum to 1.

    ``start``, ``length``: [B], of the part that is resized, as shares of the line; ``flip``: bool [B]. Keys' cubic
    (a = -0.5), as wide as a target pixel where that is wider than a source pixel.
    """
    step = length * source / target
    wide = step.clamp(min=1)[:, None, None]
    centre = (start * source)[:, None] + step[:, None] * (torch.arange(target, device=start.device) + 0.5)
    centre = torch.where(flip[:, None], centre.flip(1), centre)[:, :, None]
    reach = torch.arange(math.ceil(4 * max(1.0, source / target)) + 2, device=start.device)
    pixel = (centre - 2 * wide).floor() + reach
    x = ((pixel + 0.5 - centre) / wide).abs()
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    inside = ((pixel + 0.5 - start[:, None, None] * source) / (length[:, None, None] * source) - 0.5).abs() < 0.5
    weight = torch.where(x < 1, near, far) * (inside & (x < 2))
    weight = weight / weight.sum(dim=2, keepdim=True)
    return weight.new_zeros(len(start), target, source).scatter_add_(2, pixel.long().clamp(0, source - 1), weight)


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
    return F.grid_sample(images, grid.to(images.dtype), mode=MOVED, padding_mode="zeros", align_corners=False)


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
