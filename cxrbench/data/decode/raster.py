"""PNG, JPEG, JPEG 2000, TIFF and BMP: one rule for every mode and bit depth that Pillow knows."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxrbench.data.decode.codestream import read_frame
from cxrbench.data.decode.orientation import AS_STORED, SIDEWAYS, oriented, read_orientation
from cxrbench.data.decode.png16 import read_png16
from cxrbench.data.decode.source import Source
from cxrbench.errors import BadImageError

FORMATS = ("PNG", "JPEG", "JPEG2000", "TIFF", "BMP")
DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")
ONE_BYTE = ("1", "L", "P")
FOUR_BYTES = ("LA", "La", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")  # in memory, whatever they hold
PHOTOMETRIC, BITS, SAMPLE_FORMAT = 262, 258, 339  # TIFF 6.0, section 8
MIN_IS_WHITE, UNSIGNED = 0, 1
ROWS = 256  # converted at a time
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
MOST = (1 << 16) - 1


# Pillow takes memory in blocks of 16 MB, which the C library keeps for each thread that ever had them: six threads that
# decode 100 million pixels in turn would hold six images. Blocks of more than 32 MB go back to the system.
Image.core.set_block_size(1 << 26)


class Stored(NamedTuple):
    """What a file holds: [H, W] or [H, W, channels], turned as it says; ``mode`` and ``format`` in Pillow's words."""

    values: NDArray[Any]
    mode: str
    format: str


def raster_source(path: Path) -> Source:
    """What the header promises. Raises BadImageError for pixels of unknown gray, and whatever Pillow raises.

    8-bit values are divided by 255, 16-bit ones as ``_scaled_deep`` says. Colour becomes luma (ITU-R 601); 16-bit
    colour keeps its depth in PNG and is refused elsewhere, because Pillow leaves it 8 bits. Transparent pixels are
    black. TIFF's min-is-white is inverted. The image is turned as ``orientation.py`` says.
    """
    with _opened(path) as image:
        deep_colour = _check_kind(path, image)
        turn = read_orientation(path, image)
        width, height = image.size[::-1] if turn in SIDEWAYS else image.size
        memory = width * height * (_bytes_per_pixel(image, deep_colour) + (0 if turn == AS_STORED else 4))
        memory += 4 * os.path.getsize(path) if deep_colour else 0  # read, cut up, put together and handed over
    read = _read_deep_colour if deep_colour else _read
    return Source(height, width, memory, lambda: oriented(read(path), turn))


def read_stored(path: Path) -> Stored:
    """What a file holds, unscaled: for masks, whose values are names. Raises as ``raster_source`` does."""
    with _opened(path) as image:
        if _check_kind(path, image):
            raise BadImageError(path, "it is a 16-bit colour image")
        turn = read_orientation(path, image)
        inverted = _inverted(image)
        image.draft("L", None)  # a JPEG's luma, without the noise of its colours
        values = np.asarray(image)
        return Stored(oriented(MOST - values if inverted else values, turn), image.mode, str(image.format))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The file, its header read.

    By its handle: of a named file Pillow maps uncompressed pixels, row by row of the turned size, so that a TIFF that
    lies on its side is scrambled.
    """
    with open(path, "rb") as handle, Image.open(handle, formats=FORMATS) as image:
        yield image


def _check_kind(path: Path, image: Image.Image) -> bool:
    """Refuse modes without a known black and white; whether it is colour of more than 8 bits, which only PNG may be."""
    tags: Any = getattr(image, "tag_v2", {})
    if image.mode == "F":
        raise BadImageError(path, "its pixels are floats of unknown range; save it with 8 or 16 bits")
    if image.mode not in (*DEEP, *ONE_BYTE, *FOUR_BYTES):
        raise BadImageError(path, f"its pixels are of kind {image.mode}; save it as 8- or 16-bit gray")
    if image.mode not in DEEP and set(tags.get(SAMPLE_FORMAT, ())) - {UNSIGNED}:
        raise BadImageError(path, "its pixels are signed; save it with unsigned ones")
    if image.mode not in FOUR_BYTES:
        return False
    bits = max(tags.get(BITS, (8,)))
    if image.format == "PNG":
        with open(path, "rb") as handle:
            bits = handle.read(25)[-1]  # behind the signature, the chunk's head, width and height
    elif image.format == "JPEG2000":
        with open(path, "rb") as handle:
            frame = read_frame(handle.read(1 << 16))
        bits = MOST if frame is None else frame.bits
    if bits > 8 and (image.format != "PNG" or "transparency" in image.info):
        raise BadImageError(path, "it is colour of more than 8 bits; save it as 16-bit gray, or as an opaque PNG")
    return bits > 8


def _bytes_per_pixel(image: Image.Image, deep_colour: bool) -> int:
    """Memory that decoding takes at most: Pillow's pixels, a decoder's own, copies on the way, and the gray image."""
    if deep_colour:
        return 8 + 4
    stored = 1 if image.mode in ONE_BYTE else 2 if image.mode.startswith("I;16") else 4
    inside = {"JPEG2000": 8 * len(image.getbands()), "TIFF": stored, "JPEG": 6 if "progressive" in image.info else 0}
    copies = 2 * stored if image.mode in DEEP else 0
    return stored + inside.get(str(image.format), 0) + copies + 4


def _inverted(image: Image.Image) -> bool:
    """Whether 0 is white and Pillow leaves it so; it inverts up to 8 bits itself."""
    tags: Any = getattr(image, "tag_v2", {})
    return image.mode in DEEP and tags.get(PHOTOMETRIC) == MIN_IS_WHITE


def _read(path: Path) -> NDArray[np.float32]:
    """Decode with Pillow. A colour JPEG is decoded to luma at once, without a colour conversion."""
    with _opened(path) as image:
        inverted = _inverted(image)
        image.draft("L", None)
        image.load()
        if image.mode in DEEP:
            values = np.asarray(image)
            if values.size and (values.min() < 0 or values.max() > MOST):
                raise BadImageError(path, "its pixels are signed or of more than 16 bits; save it with 8 or 16 bits")
            gray = _scaled_deep(values)
            if inverted:
                np.subtract(1, gray, out=gray)
            if "transparency" in image.info:
                gray[values == image.info["transparency"]] = 0
            return gray
        gray = np.empty((image.height, image.width), np.float32)
        for top in range(0, image.height, ROWS):
            end = min(top + ROWS, image.height)
            gray[top:end] = _eight_bit_gray(image.crop((0, top, image.width, end)))
        return gray


def _eight_bit_gray(image: Image.Image) -> NDArray[np.float32]:
    """Gray of some rows of an image of up to 8 bits a channel."""
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        straight = image.convert("LA" if image.mode == "La" else "RGBA")
        gray, alpha = (straight if straight.mode == "LA" else straight.convert("LA")).split()
        return _scaled(np.asarray(gray)) * _scaled(np.asarray(alpha))
    return _scaled(np.asarray(image if image.mode == "L" else image.convert("L")))


def _read_deep_colour(path: Path) -> NDArray[np.float32]:
    """A PNG with 2 to 4 channels of 16 bits."""
    channels = read_png16(path.read_bytes())
    colours = channels if len(channels) % 2 else channels[:-1]
    white = white_level(int(colours.max(initial=0)))
    gray = np.empty(channels.shape[1:], np.float32)
    for top in range(0, len(gray), ROWS):
        rows = colours[:, top : top + ROWS].astype(np.float32)
        luma = rows[0] if len(rows) == 1 else np.tensordot(LUMA, rows, 1)
        gray[top : top + ROWS] = np.clip(luma / white, 0, 1)
        if len(channels) % 2 == 0:
            gray[top : top + ROWS] *= channels[-1, top : top + ROWS] / np.float32(MOST)
    return gray


def _scaled_deep(values: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    """Scale 16-bit values to [0, 1]."""
    scaled = values.astype(np.float32)
    scaled /= white_level(int(values.max(initial=0)))
    return np.clip(scaled, 0, 1, out=scaled)


def white_level(brightest: int) -> np.float32:
    """The value that is white in a 16-bit image.

    Images of 10, 12 or 14 bits are often put into 16-bit files as they are (PadChest, exports of DICOM); over 65535
    they would be all but black. White is therefore the largest value of the even number of bits, at least 8, that the
    brightest pixel needs. A file that uses its 16 bits has a pixel above a quarter of them, and is divided by 65535.
    """
    bits = max(8, brightest.bit_length())
    return np.float32(2 ** min(16, bits + bits % 2) - 1)


def _scaled(gray: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Scale 8-bit values to [0, 1]."""
    return np.divide(gray, np.float32(255), dtype=np.float32)
