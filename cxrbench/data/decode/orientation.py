"""Which way up an image is: the EXIF or TIFF orientation, applied to every format in the same way."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

AS_STORED = 1
SIDEWAYS = (5, 6, 7, 8)
MOST_CHUNKS = 100_000
MOST_EXIF = 1 << 16


def read_orientation(path: Path, image: Image.Image) -> int:
    """How an opened image's rows and columns still have to be turned: 1 (not at all) to 8, TIFF 6.0's numbers.

    Not at all where the file does not say, says something else, or has EXIF data that cannot be read; and for a TIFF,
    whose size and pixels Pillow turns itself.
    """
    if image.format == "TIFF":
        return AS_STORED
    try:
        exif = Image.Image.getexif(image)  # not PngImageFile's, which decodes the image
        if image.format == "PNG" and not len(exif):
            exif.load(_late_exif(path))
        turn = exif.get(ExifTags.Base.Orientation, AS_STORED)
    except Exception:  # struct.error, SyntaxError, ValueError, ... for damaged EXIF data, which is not the image
        return AS_STORED
    return turn if turn in range(2, 9) else AS_STORED


def oriented(values: NDArray[Any], turn: int) -> NDArray[Any]:
    """Pixels [H, W, ...] turned from how they are stored to how they are looked at."""
    if turn in SIDEWAYS:
        values = values.swapaxes(0, 1)
    if turn in (3, 4, 7, 8):
        values = values[::-1]
    if turn in (2, 3, 6, 7):
        values = values[:, ::-1]
    return np.ascontiguousarray(values)


def _late_exif(path: Path) -> bytes:
    """The eXIf chunk of a PNG that has it behind its pixels, where Pillow looks only after decoding."""
    with open(path, "rb") as handle:
        handle.seek(8)
        for _ in range(MOST_CHUNKS):
            head = handle.read(8)
            if len(head) < 8 or head[4:] == b"IEND":
                break
            if head[4:] == b"eXIf":
                return b"Exif\0\0" + handle.read(min(int.from_bytes(head[:4], "big"), MOST_EXIF))
            handle.seek(int.from_bytes(head[:4], "big") + 4, 1)
    return b""
