"""PNG with several channels of 16 bits, which Pillow cuts down to 8 and torchvision reads, if nothing is wrong with it.

torchvision's decoder ends the process at the first damage (0.29: a segmentation fault). So a file is looked through
here, and torchvision is given what was found whole: a header, one run of pixel data, an end.
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {2: 3, 4: 2, 6: 4}  # by colour type
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
PIECE = 1 << 20
LAST_FILTER = 4


def read_png16(content: bytes) -> NDArray[np.uint16]:
    """The channels [2 to 4, H, W] of a PNG file's content. Raises ValueError for a damaged one."""
    chunks = list(_chunks(content))
    header = chunks[0][1] if chunks and chunks[0][0] == b"IHDR" else b""
    if len(header) != 13 or header[8] != 16 or header[9] not in CHANNELS or header[10:12] != b"\0\0" or header[12] > 1:
        raise ValueError("its PNG header is damaged")
    pixels = b"".join(data for name, data in chunks if name == b"IDAT")
    _check_pixels(header, pixels)
    import torch  # for this rare kind alone
    from torchvision.io import ImageReadMode, decode_image

    whole = SIGNATURE + b"".join(_chunk(*part) for part in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")))
    return decode_image(torch.frombuffer(bytearray(whole), dtype=torch.uint8), ImageReadMode.UNCHANGED).numpy()


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and data of the chunks of a PNG file, each with its checksum right. PNG 3rd ed., 5.3."""
    at = len(SIGNATURE)
    while content[at + 4 : at + 8] != b"IEND":
        (length,) = struct.unpack(">I", content[at : at + 4].rjust(4, b"\xff"))
        data = content[at + 8 : at + 8 + length]
        if (
            len(data) < length
            or _chunk(content[at + 4 : at + 8], data)[-4:] != content[at + 8 + length : at + 12 + length]
        ):
            raise ValueError("one of its PNG chunks is damaged")
        yield content[at + 4 : at + 8], data
        at += 12 + length


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))


def _check_pixels(header: bytes, packed: bytes) -> None:
    """Raise ValueError unless the pixel data inflate to just the rows that the header promises, each with a filter."""
    starts, size = _rows(header)
    inflater, done = zlib.decompressobj(), 0
    try:
        while not inflater.eof and done <= size:
            piece = inflater.decompress(packed, PIECE)
            packed = inflater.unconsumed_tail
            if not piece and not inflater.eof:
                break
            here = starts[np.searchsorted(starts, done) : np.searchsorted(starts, done + len(piece))] - done
            if (np.frombuffer(piece, np.uint8)[here] > LAST_FILTER).any():
                break
            done += len(piece)
    except zlib.error as error:
        raise ValueError(f"its pixels are damaged ({error})") from error
    if done != size or not inflater.eof:
        raise ValueError("its pixels are damaged")


def _rows(header: bytes) -> tuple[NDArray[np.int64], int]:
    """Where the rows of the inflated pixel data begin, each with its filter's number, and how long all of them are."""
    width, height = struct.unpack(">II", header[:8])
    starts, end = [], 0
    for top, left, down, right in ADAM7 if header[12] else ((0, 0, 1, 1),):
        rows, columns = max(0, -(-(height - top) // down)), max(0, -(-(width - left) // right))
        if rows and columns:
            length = 1 + 2 * CHANNELS[header[9]] * columns
            starts.append(end + np.arange(rows, dtype=np.int64) * length)
            end += rows * length
    return np.concatenate(starts) if starts else np.zeros(0, np.int64), end
