"""Image files: any PNG, JPEG, TIFF, BMP or DICOM becomes a gray image in [0, 1]."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import UnidentifiedImageError

from cxrbench.data.decode.arrays import array_row, row_source
from cxrbench.data.decode.dicom import dicom_source, is_dicom
from cxrbench.data.decode.raster import FORMATS, raster_source
from cxrbench.data.decode.room import ROOM
from cxrbench.data.decode.source import Source
from cxrbench.errors import BadImageError

MAX_PIXELS = 100_000_000
BYTES_PER_PIXEL = 16
"""An image may take as much memory as ``max_pixels`` pixels of so many bytes: every kind but the costliest."""
SMALL = 1 << 26
"""Bytes that no image is refused for."""

Used = TypeVar("Used")


class UseDecoded(Protocol):
    """What ``use_decoded`` is."""

    def __call__(self, path: Path, use: Callable[[NDArray[np.float32]], Used], *, max_pixels: int) -> Used:
        """What ``use`` makes of the decoded image."""
        ...


def decode(path: Path, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.float32]:
    """Decode one image file to gray [H, W], float32 in [0, 1], 0 black.

    PNG, JPEG, TIFF and BMP: ``raster.py`` (bit depths, colour, transparency, orientation). DICOM is known by its magic
    bytes or its extension and goes through its whole gray-scale pipeline: ``grayscale.py``. ``FILE.npy#17`` is row 17
    of an array of images: ``arrays.py``. Size and memory are read from the header and refused
    before decoding when the image has more than ``max_pixels`` pixels or would take more than 16 bytes for each of so
    many. Raises BadImageError for a missing, empty, truncated, corrupt or unknown file, and where what was decoded is
    not what is promised here.
    """
    return use_decoded(path, lambda image: image, max_pixels=max_pixels)


def use_decoded(path: Path, use: Callable[[NDArray[np.float32]], Used], *, max_pixels: int = MAX_PIXELS) -> Used:
    """What ``use`` makes of a decoded image, which counts as memory in use until then (``room.py``).

    For whoever decodes in many threads and keeps something smaller than the image.
    """
    with _blamed_on(path):
        source = _source(path)
        check_header(path, source, max_pixels)
    with ROOM.reserved(source.memory):
        with _blamed_on(path):
            image = source.read()
            _check_image(path, image, source)
        return use(image)


def image_size(path: Path) -> tuple[int, int]:
    """Height and width that ``decode`` gives, from the file's header alone. Raises BadImageError."""
    with _blamed_on(path):
        source = _source(path)
    return source.height, source.width


def _source(path: Path) -> Source:
    """What the header says. Raises BadImageError and whatever the readers raise."""
    if row := array_row(path):
        return row_source(row)
    if path.suffix == ".npy":
        raise BadImageError(path, f"it is an array of images: name a row of it, as in {path.name}#0")
    if os.path.getsize(path) == 0:
        raise BadImageError(path, "the file is empty")
    return dicom_source(path) if is_dicom(path) else raster_source(path)


def check_header(path: Path, source: Source, max_pixels: int = MAX_PIXELS) -> None:
    """Raise BadImageError for what is too large to be decoded."""
    what = f"{source.width} x {source.height} pixels"
    if source.width * source.height > max_pixels:
        raise BadImageError(path, f"{what} are more than the limit of {max_pixels:,}")
    limit = max(BYTES_PER_PIXEL * max_pixels, SMALL)
    if source.memory > limit:
        raise BadImageError(
            path,
            f"decoding its {what} would take {source.memory / 1e9:.1f} GB, more than the {limit / 1e9:.1f} GB that "
            f"--max-pixels {max_pixels} allows",
        )


def _check_image(path: Path, image: NDArray[np.float32], source: Source) -> None:
    """The promise of ``decode``, kept for every format: what no reader can be trusted with is looked at here."""
    if image.shape != (source.height, source.width) or image.dtype != np.float32:
        raise BadImageError(
            path,
            f"decoding gives {image.dtype}{list(image.shape)}, its header promises {source.height} rows of "
            f"{source.width} pixels",
        )
    if not image.size:
        raise BadImageError(path, "it has no pixels")
    low, high = float(image.min()), float(image.max())  # NaN where a pixel is NaN
    if not (low >= 0 and high <= 1):
        raise BadImageError(path, f"decoding gives values from {low:g} to {high:g}, outside of [0, 1]")


@contextmanager
def _blamed_on(path: Path) -> Iterator[None]:
    """Whatever a reader raises becomes one line about this file."""
    try:
        yield
    except BadImageError:
        raise
    except FileNotFoundError as error:
        raise BadImageError(path, "no such file") from error
    except UnidentifiedImageError as error:
        raise BadImageError(path, f"not a DICOM, {', '.join(FORMATS)} file") from error
    # Pillow's readers meet damaged files with OSError, SyntaxError, ValueError, zlib.error, struct.error and others,
    # pydicom's and GDCM's with AttributeError, RuntimeError, NotImplementedError and more
    except Exception as error:
        raise BadImageError(path, " ".join(str(error).split())[:300] or type(error).__name__) from error
