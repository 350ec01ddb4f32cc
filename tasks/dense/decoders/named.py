"""Decoders by name. Every encoder meets the same ones."""

from collections.abc import Mapping, Sequence

from cxrbench.task import DecoderName
from cxrbench.tasks.dense.decoders.decoder import Decoder
from cxrbench.tasks.dense.decoders.narrow import Linear, UNet, UPerNet
from cxrbench.tasks.dense.decoders.transposed import Transposed
from cxrbench.tasks.dense.decoders.vitdet import ViTDet
from cxrbench.tasks.dense.decoders.wide import UNetWide, UPerNetWide

DECODERS: Mapping[DecoderName, type[Linear | UNet | UPerNet | UNetWide | UPerNetWide | ViTDet | Transposed]] = {
    "linear": Linear,
    "unet": UNet,
    "upernet": UPerNet,
    "unet-wide": UNetWide,
    "upernet-wide": UPerNetWide,
    "vitdet": ViTDet,
    "transposed": Transposed,
}


def build_decoder(
    name: DecoderName, widths: Sequence[int], sides: Sequence[int], classes: int, size: int
) -> Decoder:  # fmt: skip
    """A module that takes the native maps and gives logits [B, classes, side, side].

    widths, sides: channels and side in cells of each of the four maps (``DenseMaps.widths``, ``.sides``); size: pixels
    of the encoder's square. Its initial weights come from torch's global generator.
    """
    return DECODERS[name](widths, sides, classes, size)


def levels_read(name: DecoderName) -> tuple[int, ...]:
    """Which of the four native maps a decoder of that name reads; it takes these alone as well as all four."""
    return DECODERS[name].levels
