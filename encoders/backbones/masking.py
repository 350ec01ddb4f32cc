"""Random masking of patch tokens (He et al., 2022), and the error of what was reconstructed of the hidden ones."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

PIXEL_EPS = 1e-6  # added to the variance of a patch's pixels


class Masking(NamedTuple):
    """Which patches of each image are seen.

    ``kept``: int64 [B, n], the visible ones, in random order. ``restore``: int64 [B, N], of each patch in raster order
    its place among the visible ones followed by the hidden ones: the inverse of the permutation that was drawn.
    """

    kept: Tensor
    restore: Tensor

    @property
    def hidden(self) -> Tensor:
        """Bool [B, N], in raster order: whether a patch is masked."""
        return self.restore >= self.kept.shape[1]


def kept_tokens(tokens: int, ratio: float, slack: float = 1e-9) -> int:
    """n = floor((1 - ratio) N + slack): how many of N patches stay visible.

    With ``slack`` 0 it is MAE's ``int(N * (1 - ratio))``, in which int(10 * (1 - 0.9)) is 0, not 1.
    """
    return math.floor(tokens * (1 - ratio) + slack)


def random_masking(noise: Tensor, kept: int) -> Masking:
    """The ``kept`` patches with the least noise. ``noise``: uniform [B, N], of its own for each image."""
    order = noise.argsort(dim=1)
    return Masking(order[:, :kept], order.argsort(dim=1))


def take(tokens: Tensor, index: Tensor) -> Tensor:
    """Tokens [B, N, D] at index [B, n]: [B, n, D]. Positions that were added before travel along."""
    return tokens.gather(1, index[:, :, None].expand(-1, -1, tokens.shape[2]))


def put_back(visible: Tensor, fill: Tensor, restore: Tensor) -> Tensor:
    """Visible tokens [B, n, D] at their places among N, in raster order, ``fill`` [..., D] elsewhere: [B, N, D]."""
    batch, n, width = visible.shape
    hidden = fill.to(visible.dtype).expand(batch, restore.shape[1] - n, width)
    return take(torch.cat([visible, hidden], dim=1), restore)


def patchify(images: Tensor, patch: int) -> Tensor:
    """Images [B, C, H, W] to patches [B, N, patch² · C], raster order; a pixel's channels are neighbours, as in MAE."""
    batch, channels, height, width = images.shape
    grid = images.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return grid.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, patch * patch * channels)


def unpatchify(patches: Tensor, patch: int) -> Tensor:
    """The inverse of ``patchify`` for square images: [B, N, patch² · C] to [B, C, side · patch, side · patch]."""
    batch, tokens, pixels = patches.shape
    side, channels = math.isqrt(tokens), pixels // patch**2
    grid = patches.reshape(batch, side, side, patch, patch, channels)
    return grid.permute(0, 5, 1, 3, 2, 4).reshape(batch, channels, side * patch, side * patch)


def patch_moments(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (unbiased, a little more than 0) of the pixels of each patch: 2 x [..., 1]."""
    variance, mean = torch.var_mean(patches.float(), dim=-1, keepdim=True)
    return mean, (variance + PIXEL_EPS).sqrt()


def normalise_patches(patches: Tensor) -> Tensor:
    """MAE's ``norm_pix_loss``: each patch [..., pixels] less its mean, over its standard deviation. float32."""
    mean, deviation = patch_moments(patches)
    return (patches - mean) / deviation


def masked_error(predicted: Tensor, target: Tensor, hidden: Tensor) -> Tensor:
    """Mean squared error over the pixels of the hidden patches of each image: float32 [B].

    predicted, target: [B, N, pixels]; hidden: bool [B, N], at least one patch of each image. What an image shows in
    its visible patches counts for nothing. A mean, not the sum over a patch's pixels of PaCX-MAE's eq. 1.
    """
    error = (predicted.float() - target.float()).square().mean(dim=2)
    return (error * hidden).sum(dim=1) / hidden.sum(dim=1)
