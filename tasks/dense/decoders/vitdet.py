"""ViTDet's simple feature pyramid with the semantic head of Panoptic FPN."""

from collections.abc import Sequence

import torch.nn.functional as F
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from cxrbench.tasks.dense.decoders.decoder import Decoder, quarter
from cxrbench.tasks.dense.neck import is_plain, pyramid_sides, resampling_steps, standardization

PYRAMID = 256
HEAD = 128
GROUPS = 32


class ViTDet(Decoder):
    """The last map alone, at strides 4, 8, 16, 32; a head that adds them up at stride 4.

    Pyramid: Li et al. (2022), section 3, as in detectron2: from the last map two transposed convolutions that halve the
    width each (layer norm, GELU between), one, none, or max pooling; then 1 x 1 and 3 x 3 convolutions to 256 channels
    with layer norms. The paper detects; what it says nothing of, a head for segmentation, is Kirillov et al. (2019),
    "Panoptic Feature Pyramid Networks", section 3: convolutions with group norm and bilinear doubling up to stride 4.
    With 768 features and one class it has 7.2 M parameters.
    """

    levels = (3,)

    def __init__(self, widths: Sequence[int], sides: Sequence[int], classes: int, size: int) -> None:
        super().__init__(quarter(size))
        self.sides = pyramid_sides(size)
        self.norm = standardization(widths[-1], plain=is_plain(sides))
        self.pyramid = nn.ModuleList(_level(widths[-1], resampling_steps(sides[-1], side)) for side in self.sides)
        self.branches = nn.ModuleList(
            nn.ModuleList(_block(PYRAMID if i == 0 else HEAD) for i in range(max(1, level)))
            for level in range(len(self.sides))
        )
        self.head = nn.Conv2d(HEAD, classes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps to logits."""
        last = self.norm(maps[-1])
        total: Tensor | None = None
        for level, (grown, branch) in enumerate(zip(self.pyramid, self.branches, strict=True)):
            assert isinstance(branch, nn.ModuleList)
            x = _fitted(grown(last), self.sides[level])
            for i, block in enumerate(branch):
                x = block(x)
                if level:
                    x = _fitted(x, self.sides[level - 1 - i])
            total = x if total is None else total + x
        assert total is not None
        return self.sized(self.head(total))


def _level(width: int, doublings: int) -> nn.Sequential:
    """The last map, doubled (or halved) so many times, at 256 channels."""
    layers: list[nn.Module] = [nn.MaxPool2d(2, ceil_mode=True) for _ in range(-doublings)]
    for step in range(doublings):
        half = max(1, width // 2)
        layers += [LayerNorm2d(width), nn.GELU()] if step else []
        layers.append(nn.ConvTranspose2d(width, half, 2, 2))
        width = half
    layers += [nn.Conv2d(width, PYRAMID, 1, bias=False), LayerNorm2d(PYRAMID)]
    return nn.Sequential(*layers, nn.Conv2d(PYRAMID, PYRAMID, 3, padding=1, bias=False), LayerNorm2d(PYRAMID))


def _block(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, HEAD, 3, padding=1, bias=False), nn.GroupNorm(GROUPS, HEAD), nn.ReLU())


def _fitted(x: Tensor, side: int) -> Tensor:
    if x.shape[-1] == side:
        return x
    return F.interpolate(x, (side, side), mode="bilinear", align_corners=False)
