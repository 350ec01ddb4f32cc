"""Dense features as decoders see them: native maps of whole films, each image encoded once."""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cxrbench.encoder import Preprocess


class DenseMaps(Protocol):
    """The maps of a manifest's images, from disk or, where they do not fit, from the encoder itself."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the four maps."""
        ...

    @property
    def sides(self) -> tuple[int, ...]:
        """Side in cells of the four maps; all equal for a plain ViT, halving for a CNN."""
        ...

    @property
    def preprocess(self) -> Preprocess:
        """How the films were brought to the encoder's square (``dense_preprocess`` of the encoder's own)."""
        ...

    @property
    def cached(self) -> bool:
        """Whether they lie on disk; if not, every call of ``batch`` runs the encoder."""
        ...

    def batch(self, rows: NDArray[np.int64], copy: int = 0) -> tuple[Tensor, ...]:
        """Maps 4 x [len(rows), C, side, side], float16 or float32, of rows of the manifest.

        ``copy``: 0 is the film itself, k > 0 its k-th augmented copy, moved by ``augmentation(seed, image_id, k)``.
        """
        ...


def dense_preprocess(preprocess: Preprocess) -> Preprocess:
    """The same, but for the whole film: a centre crop becomes padding, so that no mask or box is cut off."""
    return replace(preprocess, resize="pad", crop_pct=1.0) if preprocess.resize == "crop" else preprocess


@dataclass(frozen=True)
class Geometry:
    """How a native image of ``height`` x ``width`` pixels lies in the encoder's square of ``size`` pixels.

    Native pixel coordinates (x, y), edges at integers, go to (x * scale_x + left, y * scale_y + top).
    """

    height: int
    width: int
    size: int
    scale_x: float
    scale_y: float
    left: float
    top: float

    @staticmethod
    def of(preprocess: Preprocess, height: int, width: int) -> "Geometry":
        """The geometry of ``data.preprocess.prepare`` for ``squash`` and ``pad``."""
        size = preprocess.size
        if preprocess.resize == "squash":
            return Geometry(height, width, size, size / width, size / height, 0.0, 0.0)
        if preprocess.resize != "pad":
            raise ValueError("a crop has no dense geometry: use dense_preprocess")
        longer = max(height, width)
        h, w = (max(1, round(size * side / longer)) for side in (height, width))
        return Geometry(height, width, size, w / width, h / height, float((size - w) // 2), float((size - h) // 2))

    def boxes_to_square(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Boxes [n, 4] (x, y, width, height) in native pixels to the square's."""
        scale = np.array([self.scale_x, self.scale_y, self.scale_x, self.scale_y])
        return boxes * scale + np.array([self.left, self.top, 0, 0])

    def boxes_to_native(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Boxes [n, 4] in the square's pixels to native ones, cut at the image's edges."""
        scale = np.array([self.scale_x, self.scale_y])
        first = (boxes[:, :2] - np.array([self.left, self.top])) / scale
        last = first + boxes[:, 2:] / scale
        first, last = (np.clip(p, 0, np.array([self.width, self.height])) for p in (first, last))
        return np.concatenate([first, last - first], axis=1)
