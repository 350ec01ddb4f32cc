"""Mask images: the values that were drawn, whichever channel they are in, or a reason why they cannot be told."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.decode.arrays import ArrayRow, array_row, read_row
from cxrbench.data.decode.images import check_header, image_size
from cxrbench.data.decode.raster import raster_source, read_stored
from cxrbench.data.decode.room import ROOM
from cxrbench.errors import BadImageError, UserError

BLACK, WHITE = 0, 255
SHADES = 16
HALF = 128
MUD = 48
"""Values of a JPEG further than this from black and from white are neither."""
MOST_MUD = 0.1
"""Share of such pixels, at the edges of what was drawn, up to which a JPEG is a mask."""


def read_mask(path: Path) -> NDArray[np.integer]:
    """The values [H, W] of a mask image as drawn: a palette's indices, not its colours; turned as its image would be.

    A mask that is drawn in the alpha channel alone is read from there. A JPEG, whose values are not those that were
    drawn, is 255 from 128 on and 0 below if it is all but black and white. Raises UserError for colours, for an alpha
    channel that contradicts the others, and for what cannot be read.
    """
    if row := array_row(path):
        values = _of_array(row, path)
        return values.astype(np.int32) if values.dtype.kind == "b" else np.array(values)
    try:
        source = raster_source(path)
        check_header(path, source)
        with ROOM.reserved(source.memory):
            values, mode, kind = read_stored(path)
    except BadImageError as error:
        raise UserError(f"cannot read mask {path}: {error.reason}") from error
    except Exception as error:  # whatever Pillow's readers meet damaged files with
        raise UserError(f"cannot read mask {path}: {' '.join(str(error).split())[:300]}") from error
    if mode in ("CMYK", "YCbCr"):
        raise UserError(f"mask {path} is a colour image; save it with one gray value per class")
    if values.ndim == 3:
        with_alpha = values.shape[2] in (2, 4)
        colours = values[..., :-1] if with_alpha else values
        values = _drawn(path, colours, values[..., -1]) if with_alpha else _one_channel(path, colours)
    if kind == "JPEG":
        return _black_and_white(path, values)
    return values.astype(np.int32) if values.dtype.kind == "b" else values


def mask_size(path: Path) -> tuple[int, int]:
    """Height and width of a mask image, from its header alone. Raises UserError."""
    row = array_row(path)
    return image_size(path) if row is None else _of_array(row, path).shape


def _of_array(row: ArrayRow, path: Path) -> NDArray[Any]:
    """A row [H, W] of whole numbers or of True and False, memory-mapped. Raises UserError for anything else."""
    try:
        values = read_row(row)
    except BadImageError as error:
        raise UserError(f"cannot read mask {path}: {error.reason}") from error
    if values.ndim != 2 or values.dtype.kind not in "bui":
        raise UserError(f"mask {path} is {values.dtype}{list(values.shape)}, not whole numbers [height, width]")
    return values


def inside(values: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which pixels of a mask of one class are inside: any but 0, or of a soft mask those from half its maximum on.

    Soft is a mask of many shades that is mostly at its maximum where it is not 0: a drawing with smoothed edges. Many
    values without a prevailing one are names of instances.
    """
    drawn = values != 0
    if values.dtype.kind == "u" and drawn.any():
        top = values.max()
        if (values[drawn] == top).mean() > 0.5 and len(np.unique(values)) > SHADES:
            return values >= top / 2
    return drawn


def is_jpeg(path: Path) -> bool:
    """Whether a file is a JPEG, by its content; False where it cannot be read."""
    try:
        with open(path, "rb") as handle:
            return handle.read(2) == b"\xff\xd8"
    except OSError:
        return False


def _drawn(path: Path, colours: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """The channel that the mask is in, of colours [H, W, 1 or 3] and alpha [H, W]."""
    if (alpha == WHITE).all():
        return _one_channel(path, colours)
    if (colours == colours[:1, :1]).all():
        return alpha
    if ((alpha == WHITE) | ((alpha == 0) & (colours == 0).all(-1))).all():  # all that is transparent is background
        return _one_channel(path, colours)
    raise UserError(f"mask {path} has an alpha channel that its colours contradict; save it without one")


def _one_channel(path: Path, colours: NDArray[Any]) -> NDArray[Any]:
    if (colours != colours[..., :1]).any():
        raise UserError(f"mask {path} is a colour image; save it with one gray value per class")
    return colours[..., 0]


def _black_and_white(path: Path, values: NDArray[Any]) -> NDArray[np.uint8]:
    """The two values that were drawn before a JPEG blurred them."""
    mud = ((values > BLACK + MUD) & (values < WHITE - MUD)).mean()
    if mud > MOST_MUD or (values.max() < HALF and values.min() != values.max()):
        raise UserError(
            f"mask {path} is a JPEG, and not a black and white one: its values are not those that were drawn; "
            "save it as PNG"
        )
    return np.where(values >= HALF, WHITE, BLACK).astype(np.uint8)
