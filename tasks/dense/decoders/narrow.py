"""Our own decoders, as small as frozen maps allow: logits at a quarter of the square's resolution."""

from collections.abc import Sequence

import torch.nn.functional as F
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder
from torch import Tensor, nn

from cxrbench.tasks.dense.decoders.decoder import Decoder, quarter
from cxrbench.tasks.dense.neck import Neck

PYRAMID = 48
UNET = (64, 48, 32)
UPERNET = 64


class Linear(Decoder):
    """A linear classifier of each cell of the last map, batch-normalised; bilinear from there."""

    levels = (3,)

    def __init__(self, widths: Sequence[int], sides: Sequence[int], classes: int, size: int) -> None:
        super().__init__(quarter(size))
        del sides
        self.norm = nn.BatchNorm2d(widths[-1], affine=False)
        self.head = nn.Conv2d(widths[-1], classes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps to logits."""
        logits = self.head(self.norm(maps[-1]))
        return F.interpolate(logits, (self.side, self.side), mode="bilinear", align_corners=False)


class UNet(Decoder):
    """segmentation-models-pytorch's U-Net decoder (Ronneberger et al. 2015) on the neck's pyramid, up to stride 4."""

    def __init__(self, widths: Sequence[int], sides: Sequence[int], classes: int, size: int) -> None:
        super().__init__(quarter(size))
        self.neck = Neck(widths, sides, size, PYRAMID)
        self.decoder = UnetDecoder([0, *[PYRAMID] * 4], list(UNET), n_blocks=len(UNET))
        self.head = nn.Conv2d(UNET[-1], classes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps to logits."""
        pyramid = self.neck(maps)
        # it drops the first entry, the image's own resolution, which nothing here has
        return self.sized(self.head(self.decoder([pyramid[0], *pyramid])))


class UPerNet(Decoder):
    """segmentation-models-pytorch's UPerNet decoder (Xiao et al. 2018) on the neck's pyramid."""

    def __init__(self, widths: Sequence[int], sides: Sequence[int], classes: int, size: int) -> None:
        super().__init__(quarter(size))
        self.neck = Neck(widths, sides, size, PYRAMID)
        self.decoder = UPerNetDecoder([0, 0, *[PYRAMID] * 4], encoder_depth=5, decoder_channels=UPERNET)
        self.head = nn.Conv2d(UPERNET, classes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps to logits."""
        pyramid = self.neck(maps)
        # it drops the first two entries, strides 1 and 2
        return self.sized(self.head(self.decoder([pyramid[0], pyramid[0], *pyramid])))
