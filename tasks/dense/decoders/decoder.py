"""What every decoder is."""

import math

import torch.nn.functional as F
from torch import Tensor, nn

STRIDE = 4


class Decoder(nn.Module):
    """From native maps [B, C, side, side], all four or those of ``levels``, to logits [B, classes, side, side].

    ``side``: of the logits, which are brought to the image's own size bilinearly.
    """

    levels: tuple[int, ...] = (0, 1, 2, 3)

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def sized(self, logits: Tensor) -> Tensor:
        """Logits at exactly the promised side."""
        if logits.shape[-1] == self.side:
            return logits
        return F.interpolate(logits, (self.side, self.side), mode="bilinear", align_corners=False)


def quarter(size: int) -> int:
    """A quarter of a square's side, rounded up as padded convolutions do."""
    return math.ceil(size / STRIDE)
