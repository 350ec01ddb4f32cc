"""One row of a NumPy array on disk as if it were a file: ``cxr_train.npy#17``.

Symile-MIMIC keeps its images and ECGs as single arrays of some gigabytes. A row is read through a memory map, so
nothing is copied out of the dataset's folder and a row costs its own bytes.
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
    """What a row [3, H, W] that was normalised for ImageNet promises. Raises BadImageError for anything else.

    The channels of a gray image differ in nothing but their normalisation; the first is read.
    """
    values = read_row(row)
    named = Path(f"{row.path}#{row.number}")
    if values.ndim != 3 or values.shape[0] != 3 or not np.issubdtype(values.dtype, np.floating):
        raise BadImageError(named, f"a row is {values.dtype}{list(values.shape)}, not floats [3, height, width]")

    def read() -> NDArray[np.float32]:
        gray = values[0].astype(np.float32) * np.float32(IMAGENET_STD[0]) + np.float32(IMAGENET_MEAN[0])
        if not np.isfinite(gray).all():
            raise BadImageError(named, "it has values that are no numbers")
        return np.clip(gray, 0, 1, out=gray)

    height, width = values.shape[1:]
    return Source(height, width, height * width * (values.itemsize + 12), read)


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
