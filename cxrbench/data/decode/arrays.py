"""One row of a NumPy array on disk as if it were a file: ``cxr_train.npy#17``.

Symile-MIMIC keeps its images and ECGs as single arrays of some gigabytes. A row is read through a memory map, so
nothing is copied out of the dataset's folder and a row costs its own bytes. A user's own arrays are read alike.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.decode.source import Source
from cxrbench.errors import BadImageError

IMAGENET_MEAN = 0.485, 0.456, 0.406
IMAGENET_STD = 0.229, 0.224, 0.225
SAME_GRAY = 1 / 255  # how far the channels of a gray image may lie apart once that is taken back
ECG_LEADS = 12
ECG_VALUES = 1 << 24  # an hour at 360 Hz and more
ROW = re.compile(r"(.+\.npy)#(\d+)")


class ArrayRow(NamedTuple):
    """A row of an array file."""

    path: Path
    number: int


def array_row(path: Path) -> ArrayRow | None:
    """What ``FILE.npy#NUMBER`` names; None for the path of a plain file."""
    match = ROW.fullmatch(path.name)
    return ArrayRow(path.with_name(match[1]), int(match[2])) if match else None


def rows_of(path: Path) -> int:
    """How many rows an array file has, from its header. Raises BadImageError."""
    array = _mapped(path, path)
    return len(array) if array.ndim else 0


def read_row(row: ArrayRow) -> NDArray[np.generic]:
    """One row of an array file, memory-mapped. Raises BadImageError for a missing or damaged file or no such row."""
    named = Path(f"{row.path}#{row.number}")
    array = _mapped(row.path, named)
    if not array.ndim or row.number >= len(array):
        raise BadImageError(named, f"an array of shape {array.shape} has no such row")
    return array[row.number]


def _mapped(path: Path, named: Path) -> NDArray[np.generic]:
    """An array file, memory-mapped: a shape that the file is too short for costs nothing. Raises BadImageError."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise BadImageError(named, "no such file") from error
    # ValueError, OSError, EOFError, and from a header that lies OverflowError, MemoryError, SyntaxError and others
    except Exception as error:
        raise BadImageError(named, f"not a whole NumPy array ({' '.join(str(error).split())[:200]})") from error
    if not isinstance(array, np.ndarray):
        raise BadImageError(named, "not a NumPy array but an archive of several")
    return array


def row_source(row: ArrayRow) -> Source:
    """What a row promises: an image [H, W], [1, H, W] or [H, W, 1], or of three channels. Raises BadImageError.

    Integers without a sign are scaled as those of image files (``raster.py``), floats lie in [0, 1] already. Floats of
    three channels that differ must be a gray image's that was normalised for ImageNet, as Symile-MIMIC's: they differ
    in nothing but that, and the first is read.
    """
    values = read_row(row)
    named = Path(f"{row.path}#{row.number}")
    if (
        values.dtype.kind not in "buf"
        or values.dtype.itemsize > 8
        or (values.dtype.kind == "u" and values.itemsize > 2)
    ):
        raise BadImageError(named, f"a row is of {values.dtype}; save images as uint8, uint16, or floats in [0, 1]")
    channels = _channels(values)
    if channels is None:
        raise BadImageError(
            named, f"a row is {values.dtype}{list(values.shape)}, not an image [height, width] or one of 3 channels"
        )
    count, height, width = channels.shape
    return Source(height, width, height * width * (count * values.itemsize + 16), lambda: _gray(channels, named))


def _channels(values: NDArray[np.generic]) -> NDArray[np.generic] | None:
    """A row as [1 or 3, H, W]; None where it is no image."""
    if values.ndim == 2:
        return values[None]
    if values.ndim == 3 and values.shape[0] in (1, 3):
        return values
    return np.moveaxis(values, -1, 0) if values.ndim == 3 and values.shape[-1] in (1, 3) else None


def _gray(channels: NDArray[np.generic], named: Path) -> NDArray[np.float32]:
    """Gray in [0, 1]. Raises BadImageError for floats of another range, or of colours."""
    if channels.dtype.kind in "bu":
        from cxrbench.data.decode.raster import LUMA, white_level  # here: a plan stamps rows and decodes none

        whole = channels.astype(np.float32)
        white = 1 if channels.dtype.kind == "b" else 255 if channels.itemsize == 1 else white_level(int(whole.max()))
        gray = whole[0] if len(whole) == 1 else np.tensordot(LUMA, whole, 1)
        return np.clip(gray / np.float32(white), 0, 1, dtype=np.float32)
    first = channels[0].astype(np.float32)
    if not np.isfinite(first).all():
        raise BadImageError(named, "it has values that are no numbers")
    if len(channels) == 3 and not (channels[1:] == channels[0]).all():
        gray, *others = (
            values.astype(np.float32) * np.float32(std) + np.float32(mean)
            for values, std, mean in zip(channels, IMAGENET_STD, IMAGENET_MEAN, strict=True)
        )
        if not all(np.allclose(other, gray, rtol=0, atol=SAME_GRAY) for other in others):
            raise BadImageError(named, "its 3 channels differ in more than ImageNet's normalization: save gray images")
        return np.clip(gray, 0, 1, out=gray)
    if first.size and (first.min() < 0 or first.max() > 1):
        raise BadImageError(
            named,
            f"its values go from {first.min():g} to {first.max():g}: scale floats to [0, 1], or save uint8",
        )
    return first


def read_ecg(path: Path) -> NDArray[np.float32]:
    """An ECG of ``Manifest.signals``: float32 [12, samples], from a ``.npy`` file or a row of one.

    Stored as [12, samples] or [samples, 12], with axes of length 1 in front; the leads keep the order that the dataset
    has them in. Raises BadImageError for anything else, and for values that are no numbers.
    """
    row = array_row(path)
    values = read_row(row) if row else _mapped(path, path)
    shape = values.shape
    while values.ndim > 2 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 2 or ECG_LEADS not in values.shape:
        raise BadImageError(path, f"an ECG of shape {list(shape)} is neither [12, samples] nor [samples, 12]")
    if values.dtype.kind not in "fiu" or values.size > ECG_VALUES:
        raise BadImageError(path, f"an ECG of {values.size:,} {values.dtype}: it needs numbers, an hour at most")
    leads = values if values.shape[0] == ECG_LEADS else values.T
    signal = np.array(leads, np.float32, order="C")
    if not np.isfinite(signal).all():
        raise BadImageError(path, "it has values that are no numbers")
    return signal
