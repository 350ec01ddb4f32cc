"""Image and mask files as these downloads have them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxrbench.phantom.anatomy import Mask
from cxrbench.phantom.grids import Grid


def write_png(path: Path, image: Grid, *, side: int | None = None) -> None:
    """An image [H, W] in [0, 1] as an 8-bit PNG, ``side`` pixels high and wide if given."""
    _save(path, _sized(np.rint(image * 255).astype(np.uint8), side, Image.Resampling.BICUBIC))


def write_mask(path: Path, mask: Mask, *, side: int | None = None) -> None:
    """A mask [H, W] as a PNG of 0 and 255."""
    _save(path, _sized(np.where(mask, np.uint8(255), np.uint8(0)), side, Image.Resampling.NEAREST))


def _sized(pixels: NDArray[np.uint8], side: int | None, how: Image.Resampling) -> Image.Image:
    image = Image.fromarray(pixels)
    return image if side is None else image.resize((side, side), how)


def _save(path: Path, image: Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
