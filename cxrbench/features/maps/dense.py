"""Dense features as decoders see them: native maps of whole images, each image encoded once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.sparse import csr_array
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
        """How the images were brought to the encoder's square (``dense_preprocess`` of the encoder's own)."""
        ...

    @property
    def cached(self) -> bool:
        """Whether they lie on disk; if not, every call of ``batch`` runs the encoder."""
        ...

    def batch(self, rows: NDArray[np.int64], copy: int = 0, levels: Sequence[int] = (0, 1, 2, 3)) -> tuple[Tensor, ...]:
        """Maps [len(rows), C, side, side], float16 or float32, of rows of the manifest.

        ``copy``: 0 is the image itself, k > 0 its k-th augmented copy, moved by ``augmentation(SEED, image_id, k)``.
        ``levels``: which of the four are wanted; the others are not read.
        """
        ...


def dense_preprocess(preprocess: Preprocess) -> Preprocess:
    """The same, but for the whole image: a centre crop becomes padding, so that no mask or box is cut off."""
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

    def mask_to_square(self, mask: NDArray[np.bool_] | NDArray[np.floating]) -> NDArray[np.float32]:
        """A native mask [H, W], bool or in [0, 1], to [size, size]: how much of each pixel's area it covers. Exact.

        Padding is 0. Raises ValueError if the mask has not the image's size.
        """
        self._check(mask)
        rows = _overlaps(self.height, self.scale_y, self.top, self.size)
        columns = _overlaps(self.width, self.scale_x, self.left, self.size)
        return np.clip((columns @ (rows @ mask.astype(np.float32)).T).T, 0, 1)

    def scores_to_native(self, scores: Tensor) -> Tensor:
        """Scores or probabilities [C, size, size] (or coarser, [C, h, w]) to [C, H, W], bilinear, without the padding.

        Coarser ones are first brought to [size, size].
        """
        if scores.shape[-2:] != (self.size, self.size):
            scores = F.interpolate(scores[None], (self.size, self.size), mode="bilinear", align_corners=False)[0]
        top, left = round(self.top), round(self.left)
        height, width = round(self.scale_y * self.height), round(self.scale_x * self.width)
        image = scores[None, :, top : top + height, left : left + width]
        return F.interpolate(image, (self.height, self.width), mode="bilinear", align_corners=False)[0]

    def _check(self, native: NDArray[np.generic]) -> None:
        if native.shape != (self.height, self.width):
            raise ValueError(f"a mask of {native.shape} on an image of {(self.height, self.width)}")


def _overlaps(native: int, scale: float, offset: float, size: int) -> csr_array:
    """[size, native]: the length that native pixel j, moved to the square, shares with the square's pixel i."""
    first = np.arange(native) * scale + offset
    pixel = np.arange(size)[:, None]
    shared = np.minimum(first + scale, pixel + 1) - np.maximum(first, pixel)
    return csr_array(np.maximum(shared, 0).astype(np.float32))
