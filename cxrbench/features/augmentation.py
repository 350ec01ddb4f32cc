"""Augmentation of images with their masks and boxes: one draw, the same move for all of them."""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cxrbench.encoder import Preprocess

SEED = 0  # of the copies in the dense cache: all cells of an encoder share them, whatever their own seed


@dataclass(frozen=True)
class Ranges:
    """How far an augmentation may go: uniform draws from -value to value.

    ``rotation`` in degrees; ``scale`` on a log axis, 0.1 being 0.9 to 1.1; ``shift`` in shares of the side, each axis;
    ``brightness`` in shares of the gray range; ``contrast`` on a log axis. ``flip``: flip every second image; off,
    because it breaks laterality (heart and liver change sides, and so do "left" and "right" in a report).
    """

    rotation: float = 10.0
    scale: float = 0.1
    shift: float = 0.05
    brightness: float = 0.1
    contrast: float = 0.2
    flip: bool = False


RANGES = Ranges()


@dataclass(frozen=True)
class Augmentation:
    """One move of the square: flip, scale and rotate about its centre, then shift; gray values change apart from that.

    ``rotation``: degrees, clockwise on the screen. ``shift_x``, ``shift_y``: shares of the side, to the right and down.
    Gray value g in [0, 1] becomes (g - ½) contrast + ½ + brightness, cut to [0, 1]. What comes in from outside is
    black, or empty.
    """

    flip: bool = False
    rotation: float = 0.0
    scale: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    brightness: float = 0.0
    contrast: float = 1.0

    @property
    def matrix(self) -> NDArray[np.float64]:
        """[2, 3]: a point (x, y), in shares of the side from the centre, to where it goes."""
        angle = math.radians(self.rotation)
        turn = self.scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        mirror = np.diag([-1.0 if self.flip else 1.0, 1.0])
        return np.concatenate([turn @ mirror, [[self.shift_x], [self.shift_y]]], axis=1)

    def apply_image(self, image: Tensor, preprocess: Preprocess | None = None) -> Tensor:
        """Move an image [C, S, S], bilinear; gray values in [0, 1], or normalised as ``preprocess`` says."""
        if self == Augmentation():
            return image
        mean, std = (0.0,), (1.0,)
        if preprocess is not None:
            mean, std = preprocess.mean, preprocess.std
        shift, spread = (torch.tensor(v, dtype=image.dtype)[:, None, None] for v in (mean, std))
        gray = (image * spread + shift - 0.5) * self.contrast + 0.5 + self.brightness
        return (self._moved(gray.clamp(0, 1)) - shift) / spread

    def apply_mask(self, mask: Tensor) -> Tensor:
        """Move masks or coverages [K, S, S], bilinear."""
        return self._moved(mask.float())

    def apply_boxes(self, boxes: NDArray[np.float64], size: int) -> NDArray[np.float64]:
        """Move boxes [n, 4] (x, y, width, height) in the pixels of a square of ``size``; cut at its edges.

        A box is moved as the ellipse inscribed in it, and the result is the box around the moved ellipse: the box
        around four rotated corners is too large for findings, which seldom fill the corners (Kalra et al. 2021,
        "Towards Rotation Invariance in Object Detection"). Boxes that leave the square lose their width or height.
        """
        linear, shift = self.matrix[:, :2], self.matrix[:, 2]
        half = boxes[:, 2:] / 2
        centre = (boxes[:, :2] + half - size / 2) @ linear.T + size / 2 + shift * size
        half = np.sqrt(half**2 @ (linear**2).T)
        first, last = np.clip(centre - half, 0, size), np.clip(centre + half, 0, size)
        return np.concatenate([first, last - first], axis=1)

    def _moved(self, values: Tensor) -> Tensor:
        """[C, S, S] with every pixel taken from where it was, bilinear. Exact where nothing moves."""
        if self == Augmentation(brightness=self.brightness, contrast=self.contrast):
            return values
        linear, shift = self.matrix[:, :2], self.matrix[:, 2]
        back = np.linalg.inv(linear)
        # grid_sample's coordinates run from -1 to 1 over the square: shares of the side from the centre, doubled
        theta = torch.from_numpy(np.concatenate([back, (-back @ (2 * shift))[:, None]], axis=1)).to(values.dtype)
        grid = F.affine_grid(theta[None], [1, *values.shape], align_corners=False)
        return F.grid_sample(values[None], grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0]


def augmentation(seed: int, image_id: str, copy: int, ranges: Ranges = RANGES) -> Augmentation:
    """The draw of one copy of an image: from these arguments alone, the same everywhere. Copy 0 is the image itself."""
    if copy == 0:
        return Augmentation()
    digest = hashlib.sha256(f"{seed}|{copy}|{image_id}".encode()).digest()
    u = np.random.default_rng(int.from_bytes(digest[:16], "little")).uniform(-1, 1, 7)
    return Augmentation(
        flip=ranges.flip and bool(u[0] < 0),
        rotation=float(ranges.rotation * u[1]),
        scale=float((1 + ranges.scale) ** u[2]),
        shift_x=float(ranges.shift * u[3]),
        shift_y=float(ranges.shift * u[4]),
        brightness=float(ranges.brightness * u[5]),
        contrast=float((1 + ranges.contrast) ** u[6]),
    )
