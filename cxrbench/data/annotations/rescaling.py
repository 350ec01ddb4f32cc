"""An image and what is drawn on it at another size: pixels antialiased, boxes to scale, masks by nearest pixels."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from cxrbench.data.annotations.rle import decode_counts, encode_counts
from cxrbench.errors import UserError


class Sizes(NamedTuple):
    """Height and width of an image before and after."""

    height: int
    width: int
    new_height: int
    new_width: int


def fitted(height: int, width: int, longest: int) -> Sizes:
    """The size at which the longer side has ``longest`` pixels, aspect kept; a smaller image keeps its own."""
    scale = min(1.0, longest / max(height, width))
    return Sizes(height, width, max(1, round(height * scale)), max(1, round(width * scale)))


def eight_bits(image: NDArray[np.float32], sizes: Sizes) -> NDArray[np.uint8]:
    """A gray image [H, W] in [0, 1] as uint8 [H', W']: bicubic with antialiasing in floats, rounded once."""
    if (sizes.new_height, sizes.new_width) != image.shape:
        size = (sizes.new_width, sizes.new_height)
        image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def nearest(values: NDArray[Any], sizes: Sizes, where: str) -> NDArray[Any]:
    """A mask [H, W] at the new size: each pixel takes the value at its centre, so no new value arises.

    Something thinner than a new pixel may vanish. Raises UserError where the mask has another size than its image.
    """
    if values.shape != (sizes.height, sizes.width):
        height, width = values.shape
        raise UserError(f"{where} has {width} x {height} pixels, its image {sizes.width} x {sizes.height}")
    rows = (np.arange(sizes.new_height) + 0.5) * sizes.height / sizes.new_height
    columns = (np.arange(sizes.new_width) + 0.5) * sizes.width / sizes.new_width
    return values[rows.astype(np.int64)[:, None], columns.astype(np.int64)]


def scaled_boxes(boxes: pd.DataFrame, sizes: Mapping[str, Sizes]) -> pd.DataFrame:
    """The manifest's boxes in pixels of the new images; those of images without ``sizes`` are dropped."""
    kept = boxes[boxes["image_id"].isin(list(sizes))].reset_index(drop=True)
    of_row = [sizes[name] for name in kept["image_id"]]
    across = np.array([s.new_width / s.width for s in of_row])
    down = np.array([s.new_height / s.height for s in of_row])
    return kept.assign(
        x=kept["x"] * across, width=kept["width"] * across, y=kept["y"] * down, height=kept["height"] * down
    )


def scaled_counts(counts: str, sizes: Sizes, image_id: str) -> str:
    """COCO run lengths of a mask as those of the mask at the new size. Raises UserError if they do not fit."""
    try:
        mask = decode_counts(counts, sizes.height, sizes.width)
    except UserError as error:
        raise UserError(f"the mask of image {image_id}: {error}") from error
    return encode_counts(nearest(mask, sizes, f"the mask of image {image_id}"))
