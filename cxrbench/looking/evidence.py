"""What in an image speaks for a label: Grad-CAM through an encoder's last maps, occlusion from outside of it."""

from typing import Any

import torch
from torch import Tensor

WINDOWS = 8
"""A window covers one part in so many of a side; the next one begins half a window further."""
AT_ONCE = 32


def grad_cam(encoder: Any, image: Tensor, weights: Tensor) -> Tensor | None:
    """What the places of the last map add to a label's logit: [rows, columns], at least 0; None if it has no gradient.

    Selvaraju et al., "Grad-CAM", ICCV 2017, eq. 1 and 2: with A the last of the encoder's maps [C, rows, columns] and
    α_c the mean over places of ∂ logit / ∂ A_c, the map is ReLU(Σ_c α_c A_c). The logit is ``weights`` [D] times the
    pooled embedding. image: [channels, size, size]. There is none where the encoder gives no maps, or embeds images
    without a gradient, or makes its maps beside the way to its embedding, as ViTs do.
    """
    with torch.enable_grad():
        features = encoder(image[None].clone().requires_grad_())
        if not features.maps or not features.maps[-1].requires_grad:
            return None
        logit = (features.pooled[0].to(weights.dtype) * weights).sum()
        last = features.maps[-1]
        if not logit.requires_grad or (slope := torch.autograd.grad(logit, last, allow_unused=True)[0]) is None:
            return None
    if not bool(slope.any()):
        return None
    return (slope.mean(dim=(2, 3), keepdim=True) * last.detach()).sum(dim=1)[0].relu().double()


def occlusion(encoder: Any, image: Tensor, weights: Tensor) -> Tensor:
    """How far a label's logit falls when a place is covered: [2 WINDOWS, 2 WINDOWS], below 0 where it rises.

    Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014: a square window, a
    ``WINDOWS``-th of the side, takes the image's mean; a place has the mean over the windows that cover it. The
    arguments are those of ``grad_cam``. Costs (2 WINDOWS - 1)² calls.
    """
    size, step = image.shape[-1], image.shape[-1] / (2 * WINDOWS)
    cuts = [round(step * k) for k in range(2 * WINDOWS + 1)]
    places = [(row, column) for row in range(2 * WINDOWS - 1) for column in range(2 * WINDOWS - 1)]
    mean = image.mean(dim=(1, 2), keepdim=True)
    fall = torch.zeros(2 * WINDOWS, 2 * WINDOWS, dtype=torch.float64)
    covered = torch.zeros_like(fall)
    with torch.inference_mode():
        whole = _logits(encoder, image[None], weights)
        for start in range(0, len(places), AT_ONCE):
            part = places[start : start + AT_ONCE]
            images = image.expand(len(part), -1, size, size).clone()
            for one, (row, column) in zip(images, part, strict=True):
                one[:, cuts[row] : cuts[row + 2], cuts[column] : cuts[column + 2]] = mean
            for (row, column), logit in zip(part, _logits(encoder, images, weights), strict=True):
                fall[row : row + 2, column : column + 2] += (whole[0] - logit).cpu()
                covered[row : row + 2, column : column + 2] += 1
    return fall / covered


def _logits(encoder: Any, images: Tensor, weights: Tensor) -> Tensor:
    return encoder(images).pooled.to(weights.dtype) @ weights
