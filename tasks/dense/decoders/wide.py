"""Decoders at the widths of published results: U-Net and UPerNet on maps of the encoder's own width."""

from collections.abc import Sequence

import torch
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder
from torch import Tensor, nn

from cxrbench.tasks.dense.decoders.decoder import Decoder, quarter
from cxrbench.tasks.dense.native_pyramid import NativePyramid

UNET = (256, 128, 64, 32, 16)
"""segmentation-models-pytorch's own widths, which FaNe and MGCA use."""
UPERNET = 512
"""mmsegmentation's and BEiT's width: with 4 x 768 features 39.3 M parameters, RadJEPA's and RAD-DINO's count."""


class UNetWide(Decoder):
    """segmentation-models-pytorch's U-Net decoder at its own widths, up to the square's resolution.

    Of the five resolutions of a CNN the maps have four: the skip connection at stride 2 has no channels.
    """

    def __init__(self, widths: Sequence[int], sides: Sequence[int], classes: int, size: int) -> None:
        super().__init__(size)
        self.pyramid = NativePyramid(widths, sides, size)
        self.decoder = UnetDecoder([0, 0, *widths], list(UNET), n_blocks=len(UNET))
        self.head = nn.Conv2d(UNET[-1], classes, 3, padding=1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps to logits."""
        pyramid = self.pyramid(maps)
        batch, whole, half = len(maps[0]), self.side, -(-self.side // 2)
        empty = [torch.empty(batch, 0, side, side, device=maps[0].device) for side in (whole, half)]
        return self.sized(self.head(self.decoder([*empty, *pyramid])))


class UPerNetWide(Decoder):
    """segmentation-models-pytorch's UPerNet decoder of 512 channels on maps of the encoder's own width."""

    def __init__(self, widths: Sequence[int], sides: Sequence[int], classes: int, size: int) -> None:
        super().__init__(quarter(size))
        self.pyramid = NativePyramid(widths, sides, size)
        self.decoder = UPerNetDecoder([0, 0, *widths], encoder_depth=5, decoder_channels=UPERNET)
        self.head = nn.Conv2d(UPERNET, classes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps to logits."""
        pyramid = self.pyramid(maps)
        return self.sized(self.head(self.decoder([pyramid[0], pyramid[0], *pyramid])))
