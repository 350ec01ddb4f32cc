"""Image files: any PNG, JPEG, TIFF, BMP or DICOM becomes a gray image in [0, 1]."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from cxrbench.data.decode.arrays import array_row, decode_row, read_row
from cxrbench.data.decode.dicom import decode_dicom, is_dicom, read_header
from cxrbench.errors import BadImageError

MAX_PIXELS = 100_000_000
FORMATS = ("PNG", "JPEG", "JPEG2000", "TIFF", "BMP")


def decode(path: Path, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.float32]:
    """Decode one image file to gray [H, W], float32 in [0, 1], 0 black.

    8-bit values are divided by 255, 16-bit ones by 65535, or by 4095 or 16383 where no pixel needs more bits than
    such a detector has (``_deep``). Colour becomes luma (ITU-R 601; 16-bit colour is read at 8
    bits), transparent pixels black. DICOM is known by its magic bytes or its extension and goes through its whole
    gray-scale pipeline (``dicom.py``). ``FILE.npy#17`` is row 17 of an array of ImageNet-normalised images
    (``arrays.py``). The size is read from the header and refused before decoding when
    it has more than ``max_pixels`` pixels (Pillow refuses more than 178 million by itself). Raises BadImageError for a
    missing, empty, truncated, corrupt or unknown file.
    """
    try:
        if row := array_row(path):
            return decode_row(row, max_pixels=max_pixels)
        if os.path.getsize(path) == 0:
            raise BadImageError(path, "the file is empty")
        if is_dicom(path):
            return decode_dicom(path, max_pixels=max_pixels)
        return _decode_plain(path, max_pixels)
    except BadImageError:
        raise
    except FileNotFoundError as error:
        raise BadImageError(path, "no such file") from error
    except UnidentifiedImageError as error:
        raise BadImageError(path, f"not a DICOM, {', '.join(FORMATS)} file") from error
    # Pillow's readers meet damaged files with OSError, SyntaxError, ValueError, zlib.error, struct.error and others
    except Exception as error:
        raise BadImageError(path, f"{error or type(error).__name__}") from error


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of an image file, from its header alone. Raises BadImageError."""
    try:
        if row := array_row(path):
            height, width = read_row(row).shape[-2:]
            return height, width
        if is_dicom(path):
            header = read_header(path)
            return int(header.Rows), int(header.Columns)
        with Image.open(path, formats=FORMATS) as image:
            return image.height, image.width
    except BadImageError:
        raise
    except UnidentifiedImageError as error:
        raise BadImageError(path, f"not a DICOM, {', '.join(FORMATS)} file") from error
    except Exception as error:  # as in ``decode``
        raise BadImageError(path, f"{error or type(error).__name__}") from error


def _decode_plain(path: Path, max_pixels: int) -> NDArray[np.float32]:
    """Decode with Pillow. A colour JPEG is decoded to luma at once, without a colour conversion."""
    with Image.open(path, formats=FORMATS) as image:
        if image.width * image.height > max_pixels:
            raise BadImageError(
                path, f"{image.width} x {image.height} pixels are more than the limit of {max_pixels:,}"
            )
        image.draft("L", None)
        if image.mode.startswith("I;16") or image.mode == "I":
            return _deep(np.asarray(image))
        if image.mode == "F":
            raise BadImageError(path, "its pixels are floats of unknown range; save it with 8 or 16 bits")
        if "A" in image.mode or "transparency" in image.info:
            gray, alpha = image.convert("RGBA").convert("LA").split()
            return _scaled(np.asarray(gray)) * _scaled(np.asarray(alpha))
        return _scaled(np.asarray(image if image.mode == "L" else image.convert("L")))


def _deep(values: NDArray[np.integer]) -> NDArray[np.float32]:
    """Scale 16-bit values to [0, 1].

    Images of 10, 12 or 14 bits are often put into 16-bit files as they are (PadChest, exports of DICOM); over 65535
    they would be all but black. White is therefore the largest value of the even number of bits, at least 8, that the
    brightest pixel needs. A file that uses its 16 bits has a pixel above a quarter of them, and is divided by 65535.
    """
    bits = max(8, int(values.max(initial=0)).bit_length())
    white = 2 ** min(16, bits + bits % 2) - 1
    return np.clip(values.astype(np.float32) / np.float32(white), 0, 1)


def _scaled(gray: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Scale 8-bit values to [0, 1]."""
    return np.divide(gray, np.float32(255), dtype=np.float32)
