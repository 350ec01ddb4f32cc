"""From an encoder's native maps to one pyramid, so that every encoder meets the same decoders."""

import math
from collections.abc import Sequence

import torch.nn.functional as F
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

STRIDES = (4, 8, 16, 32)


def pyramid_sides(size: int) -> tuple[int, ...]:
    """Sides of the pyramid of a square of ``size`` pixels: size / stride, rounded up, as padded convolutions do."""
    return tuple(math.ceil(size / stride) for stride in STRIDES)


def is_plain(sides: Sequence[int]) -> bool:
    """Whether maps of these sides are a plain ViT's: all of one stride."""
    return len(set(sides)) == 1


def standardization(width: int, *, plain: bool) -> nn.Sequential:
    """Of native maps, without parameters: each token of a plain ViT, then each channel over the batch.

    A plain ViT's maps are residual streams before its last norm, and encoders differ in scale by orders of magnitude.
    """
    return nn.Sequential(
        LayerNorm2d(width, affine=False) if plain else nn.Identity(), nn.BatchNorm2d(width, affine=False)
    )


class Neck(nn.Module):
    """Four native maps to a pyramid at strides 4, 8, 16, 32, all of one width. Trained: it belongs to the decoder.

    Native maps are standardized per channel (batch statistics in training, running ones after), because encoders differ
    in scale by orders of magnitude; nothing is learned there, so no gradient is worked out for frozen maps. A CNN's
    stages have the wanted strides and are then only projected (1 x 1). The four maps of a plain ViT all have its patch
    stride and are raw residual streams: each token is normalised first, and the projection is doubled by transposed
    convolutions or halved by strided ones, for patch 16 by 4, 2, 1 and 1/2. This is the pyramid of ViTDet (Li et al.
    2022, section 3) fed from evenly spaced blocks, as in SETR-MLA (Zheng et al. 2021) and BEiT's UPerNet (Bao et al.
    2022), except that the projection comes first, which makes the rest a few times cheaper. Where patches do not divide
    the strides (14), the nearest power of two is taken and the rest is bilinear.
    """

    def __init__(
        self, widths: Sequence[int], sides: Sequence[int], size: int, width: int = 128, finest: int = 0
    ) -> None:
        """``widths``, ``sides``: of the native maps; ``size``: of the encoder's square; ``width``: of the pyramid.

        ``finest``: the first level that is wanted; 1 leaves out stride 4.
        """
        super().__init__()
        self.width, self.sides = width, pyramid_sides(size)[finest:]
        plain = is_plain(sides)
        self.levels = nn.ModuleList(
            nn.Sequential(
                LayerNorm2d(native_width, affine=False) if plain else nn.Identity(),
                nn.BatchNorm2d(native_width, affine=False),
                nn.Conv2d(native_width, width, 1),
                *_resampling(resampling_steps(side, wanted), width),
            )
            for native_width, side, wanted in zip(widths[finest:], sides[finest:], self.sides, strict=True)
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Native maps [B, C, side, side] of the wanted levels, float16 or wider, to [B, width, side, side] each.

        Finest first; finer ones than wanted may be there and are passed over.
        """
        dtype = next(self.parameters()).dtype
        return tuple(
            _fitted(level(native.to(dtype)), side)
            for level, native, side in zip(self.levels, maps[-len(self.levels) :], self.sides, strict=True)
        )


def resampling_steps(side: int, wanted: int) -> int:
    """How often a side is to be doubled (or, if negative, halved) to come nearest to the wanted one."""
    return round(math.log2(wanted / side))


def _resampling(doublings: int, width: int) -> list[nn.Module]:
    """Learned doublings (or, if negative, halvings) of the side, with a norm and a nonlinearity between two."""
    layers: list[nn.Module] = []
    for step in range(abs(doublings)):
        if step:
            layers += [LayerNorm2d(width), nn.GELU()]
        conv = nn.ConvTranspose2d(width, width, 2, 2) if doublings > 0 else nn.Conv2d(width, width, 3, 2, padding=1)
        layers.append(conv)
    return layers


def _fitted(level: Tensor, side: int) -> Tensor:
    """Exactly ``side`` cells a side."""
    if level.shape[-1] == side:
        return level
    return F.interpolate(level, (side, side), mode="bilinear", align_corners=False, antialias=level.shape[-1] > side)
