"""From a map over the square that an encoder sees to the image that a person sees."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrbench.encoder import Preprocess


class Axis(NamedTuple):
    """Where a side of an image lies in the encoder's square: its pixel p is at p * scale + offset."""

    scale: float
    offset: float


def axes(preprocess: Preprocess, height: int, width: int) -> tuple[Axis, Axis]:
    """Down and across, as ``data.decode.preprocess.prepare`` does it."""
    size = preprocess.size
    if preprocess.resize == "squash":
        return Axis(size / height, 0.0), Axis(size / width, 0.0)
    if preprocess.resize == "pad":
        new = [max(1, round(size * side / max(height, width))) for side in (height, width)]
        offsets = [float((size - side) // 2) for side in new]
    else:
        target = int(size / preprocess.crop_pct)
        new = [int(target * side / min(height, width)) for side in (height, width)]
        offsets = [-float(int(round((side - size) / 2.0))) for side in new]
    down, across = (Axis(n / side, o) for n, side, o in zip(new, (height, width), offsets, strict=True))
    return down, across


def on_image(
    values: NDArray[np.float64], preprocess: Preprocess, native: tuple[int, int], shown: tuple[int, int]
) -> NDArray[np.float64]:
    """A map [rows, columns] over the encoder's square at the pixels [h, w] of a picture: bilinear between the centres
    of its cells; NaN where the encoder did not see the image.

    ``native``: height and width of the image as stored; ``shown``: of the picture of it.
    """
    weights, seen = [], []
    for axis, side, pixels, cells in zip(axes(preprocess, *native), native, shown, values.shape, strict=True):
        at = (np.arange(pixels) + 0.5) * side / pixels * axis.scale + axis.offset  # in the square's pixels
        seen.append((at >= 0) & (at <= preprocess.size))
        cell = np.clip(at * cells / preprocess.size - 0.5, 0, cells - 1)
        low = np.minimum(cell.astype(np.int64), max(cells - 2, 0))
        high = np.minimum(low + 1, cells - 1)
        weight = np.zeros((pixels, cells))
        weight[np.arange(pixels), low] += 1 - (cell - low)
        weight[np.arange(pixels), high] += cell - low
        weights.append(weight)
    return np.where(seen[0][:, None] & seen[1], weights[0] @ values @ weights[1].T, np.nan)
