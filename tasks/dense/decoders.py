"""Decoders: from the four native maps of any encoder to logits per pixel. Every encoder meets the same ones."""

import math
from collections.abc import Sequence

import torch.nn.functional as F
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder
from torch import Tensor, nn

from cxrbench.task import DecoderName
from cxrbench.tasks.dense.neck import Neck

STRIDE = 4
"""Logits have a quarter of the square's resolution; they are brought to the image's own size bilinearly."""
PYRAMID = 48
UNET = (64, 48, 32)
UPERNET = 64


def build_decoder(
    name: DecoderName, widths: Sequence[int], sides: Sequence[int], classes: int, size: int
) -> nn.Module:  # fmt: skip
    """A module that takes the four native maps and gives logits [B, classes, h, w], h = w = ceil(size / 4).

    widths, sides: channels and side in cells of each map (``DenseMaps.widths``, ``.sides``); size: pixels of the
    encoder's square. Its initial weights come from torch's global generator.
    """
    builders = {"linear": _Linear, "unet": _UNet, "upernet": _UPerNet}
    return builders[name](tuple(widths), tuple(sides), classes, size)


def levels_read(name: DecoderName) -> tuple[int, ...]:
    """Which of the four native maps a decoder of that name reads; it takes these alone as well as all four."""
    return (3,) if name == "linear" else (0, 1, 2, 3)


def logit_side(size: int) -> int:
    """Side of the logits for a square of ``size`` pixels."""
    return math.ceil(size / STRIDE)


class _Linear(nn.Module):
    """A linear classifier of each cell of the last map, batch-normalised; bilinear from there."""

    def __init__(self, widths: tuple[int, ...], sides: tuple[int, ...], classes: int, size: int) -> None:
        super().__init__()
        del sides
        self.side = logit_side(size)
        self.norm = nn.BatchNorm2d(widths[-1], affine=False)
        self.head = nn.Conv2d(widths[-1], classes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        logits = self.head(self.norm(maps[-1]))
        return F.interpolate(logits, (self.side, self.side), mode="bilinear", align_corners=False)


class _UNet(nn.Module):
    """segmentation-models-pytorch's U-Net decoder (Ronneberger et al. 2015) on the neck's pyramid, up to stride 4."""

    def __init__(self, widths: tuple[int, ...], sides: tuple[int, ...], classes: int, size: int) -> None:
        super().__init__()
        self.side = logit_side(size)
        self.neck = Neck(widths, sides, size, PYRAMID)
        self.decoder = UnetDecoder([0, *[PYRAMID] * 4], list(UNET), n_blocks=len(UNET))
        self.head = nn.Conv2d(UNET[-1], classes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        pyramid = self.neck(maps)
        # it drops the first entry, the image's own resolution, which nothing here has
        return _sized(self.head(self.decoder([pyramid[0], *pyramid])), self.side)


class _UPerNet(nn.Module):
    """segmentation-models-pytorch's UPerNet decoder (Xiao et al. 2018) on the neck's pyramid."""

    def __init__(self, widths: tuple[int, ...], sides: tuple[int, ...], classes: int, size: int) -> None:
        super().__init__()
        self.side = logit_side(size)
        self.neck = Neck(widths, sides, size, PYRAMID)
        self.decoder = UPerNetDecoder([0, 0, *[PYRAMID] * 4], encoder_depth=5, decoder_channels=UPERNET)
        self.head = nn.Conv2d(UPERNET, classes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        pyramid = self.neck(maps)
        # it drops the first two entries, strides 1 and 2
        return _sized(self.head(self.decoder([pyramid[0], pyramid[0], *pyramid])), self.side)


def _sized(logits: Tensor, side: int) -> Tensor:
    """Logits at exactly the promised side."""
    if logits.shape[-1] == side:
        return logits
    return F.interpolate(logits, (side, side), mode="bilinear", align_corners=False)
