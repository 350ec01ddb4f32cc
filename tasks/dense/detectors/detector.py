"""What every detector is."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

CANDIDATES, MAX_DETECTIONS = 1000, 100
"""Places that meet non-maximum suppression, and detections of an image that it keeps."""


class Found(NamedTuple):
    """Detections of one image, best first: corners [D, 4] in the square's pixels, scores [D], classes [D]."""

    corners: Tensor
    scores: Tensor
    classes: Tensor


class Detector(Protocol):
    """How the numbers of a detection head, float32 [B, N, F] at N places of the square, are taught and read."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a cell tells of it, as plain JSON values."""
        ...

    def targets(self, boxes: NDArray[np.float64], classes: NDArray[np.int64]) -> Any:
        """What one image with boxes [G, 4] (x, y, width, height) in the square's pixels of classes [G] teaches."""
        ...

    def loss_sums(self, raw: Tensor, targets: Sequence[Any]) -> Tensor:
        """[2]: a numerator and a denominator, which add up over batches; the loss is their ratio."""
        ...

    def found(self, raw: Tensor) -> Found:
        """The detections in the numbers [N, F] of one image."""
        ...


def loss_of(sums: Tensor) -> Tensor:
    """The loss of ``loss_sums``, summed over batches or not: of images without any box of ours, the numerator."""
    return sums[0] / sums[1].clamp(min=1)
