"""Native maps at the four strides of a pyramid, each at the encoder's own width."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from cxrbench.tasks.dense.neck import is_plain, pyramid_sides, resampling_steps, standardization


class NativePyramid(nn.Module):
    """Native maps to strides 4, 8, 16, 32, each at its own width: a CNN's as they are, a ViT's as in BEiT.

    BEiT's UPerNet (Bao et al. 2022, mmsegmentation's ``backbone/beit.py``) brings four blocks' outputs of stride 16 to
    the four strides: two transposed convolutions with batch norm and GELU between them, one, none, and max pooling.
    Maps are standardized first, without parameters. ``finest``: the first level that is wanted.
    """

    def __init__(self, widths: Sequence[int], sides: Sequence[int], size: int, finest: int = 0) -> None:
        super().__init__()
        self.sides = pyramid_sides(size)[finest:]
        plain = is_plain(sides)
        self.levels = nn.ModuleList(
            nn.Sequential(standardization(width, plain=plain), *_resampled(width, resampling_steps(side, wanted)))
            for width, side, wanted in zip(widths[finest:], sides[finest:], self.sides, strict=True)
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Native maps of the wanted levels (finer ones are passed over) to maps of the same widths, finest first."""
        found = [level(native) for level, native in zip(self.levels, maps[-len(self.levels) :], strict=True)]
        return [
            x if x.shape[-1] == side else F.interpolate(x, (side, side), mode="bilinear", align_corners=False)
            for x, side in zip(found, self.sides, strict=True)
        ]


def _resampled(width: int, doublings: int) -> list[nn.Module]:
    if doublings < 0:
        return [nn.MaxPool2d(2, ceil_mode=True) for _ in range(-doublings)]
    layers: list[nn.Module] = []
    for step in range(doublings):
        layers += [nn.BatchNorm2d(width), nn.GELU()] if step else []
        layers.append(nn.ConvTranspose2d(width, width, 2, 2))
    return layers
