"""PaCX-MAE's five-layer decoder: a convolution and four transposed ones on the last map."""

from collections.abc import Sequence

from torch import Tensor, nn

from cxrbench.tasks.dense.decoders.decoder import Decoder
from cxrbench.tasks.dense.neck import is_plain, standardization

WIDTHS = (256, 128, 64, 32)
GROWTH = 16
"""Four doublings of the side: patches of 16 pixels become pixels."""


class Transposed(Decoder):
    """3 x 3 to 256 channels, then 2 x 2 transposed convolutions to 128, 64, 32 and the classes, ReLU between them.

    Lyce24/PACX-MAE, ``Models/models.py``. With 768 features and one class it has 1.94 M parameters.
    """

    levels = (3,)

    def __init__(self, widths: Sequence[int], sides: Sequence[int], classes: int, size: int) -> None:
        super().__init__(min(GROWTH * sides[-1], size))
        self.norm = standardization(widths[-1], plain=is_plain(sides))
        layers: list[nn.Module] = [nn.Conv2d(widths[-1], WIDTHS[0], 3, padding=1)]
        for width, following in zip(WIDTHS, (*WIDTHS[1:], classes), strict=True):
            layers += [nn.ReLU(), nn.ConvTranspose2d(width, following, 2, 2)]
        self.layers = nn.Sequential(*layers)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps to logits."""
        return self.sized(self.layers(self.norm(maps[-1])))
