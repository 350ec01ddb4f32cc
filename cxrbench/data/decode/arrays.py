"""One row of a NumPy array on disk as if it were a file: ``cxr_train.npy#17``.

Symile-MIMIC keeps its images and ECGs as single arrays of some gigabytes. A row is read through a memory map, so
nothing is copied out of the dataset's folder and a row costs its own bytes.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrbench.errors import BadImageError

IMAGENET_MEAN = 0.485, 0.456, 0.406
IMAGENET_STD = 0.229, 0.224, 0.225
ECG_LEADS = 12
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
    try:
        array = np.load(row.path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise BadImageError(named, "no such file") from error
    except (OSError, ValueError, EOFError) as error:
        raise BadImageError(named, f"not a whole NumPy array ({error})") from error
    if not array.ndim or row.number >= len(array):
        raise BadImageError(named, f"an array of shape {array.shape} has no such row")
    return array[row.number]


def decode_row(row: ArrayRow, *, max_pixels: int) -> NDArray[np.float32]:
    """A row [3, H, W] that was normalised for ImageNet, as gray [H, W] in [0, 1], float32.

    The channels of a gray image differ in nothing but their normalisation; the first is read. Raises BadImageError.
    """
    values = read_row(row)
    named = Path(f"{row.path}#{row.number}")
    if values.ndim != 3 or values.shape[0] != 3 or not np.issubdtype(values.dtype, np.floating):
        raise BadImageError(named, f"a row is {values.dtype}{list(values.shape)}, not floats [3, height, width]")
    if values.shape[1] * values.shape[2] > max_pixels:
        raise BadImageError(named, f"{values.shape[2]} x {values.shape[1]} pixels are more than {max_pixels:,}")
    gray = values[0].astype(np.float32) * np.float32(IMAGENET_STD[0]) + np.float32(IMAGENET_MEAN[0])
    if not np.isfinite(gray).all():
        raise BadImageError(named, "it has values that are no numbers")
    return np.clip(gray, 0, 1, out=gray)


def read_ecg(path: Path) -> NDArray[np.float32]:
    """An ECG of ``Manifest.signals``: float32 [12, samples], from a ``.npy`` file or a row of one.

    Stored as [12, samples] or [samples, 12], with axes of length 1 in front; the leads keep the order that the dataset
    has them in. Raises BadImageError for anything else, and for values that are no numbers.
    """
    row = array_row(path)
    try:
        values = np.asarray(read_row(row) if row else np.load(path, allow_pickle=False))
    except FileNotFoundError as error:
        raise BadImageError(path, "no such file") from error
    except (OSError, ValueError, EOFError) as error:
        raise BadImageError(path, f"not a whole NumPy array ({error})") from error
    shape = values.shape
    while values.ndim > 2 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 2 or ECG_LEADS not in values.shape:
        raise BadImageError(path, f"an ECG of shape {list(shape)} is neither [12, samples] nor [samples, 12]")
    leads = values if values.shape[0] == ECG_LEADS else values.T
    signal = np.ascontiguousarray(leads, np.float32)
    if not np.isfinite(signal).all():
        raise BadImageError(path, "it has values that are no numbers")
    return signal
