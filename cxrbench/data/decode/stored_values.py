"""The stored values of a DICOM image's first frame, from the library that does its transfer syntax right."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import generate_fragments, get_frame
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    JPEG2000,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from cxrbench.data.decode.codestream import IMAGE_STARTS, read_frame, unbroken
from cxrbench.data.decode.jpeg12 import decode_12_bit
from cxrbench.data.decode.packbits import PLUGIN

JPEG_FAMILY = frozenset([*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes])
LOSSY = frozenset([JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000])

PLUGINS = {JPEGBaseline8Bit: ("pillow",), RLELossless: (PLUGIN, "pydicom")}
"""Which of pydicom's plugins are tried; else all that it has. Pillow decodes 8-bit JPEG at twice GDCM's speed, to the
same values, and RLE that is whole at ten times pydicom's own."""


def stored_values(data: Dataset) -> NDArray[np.integer[Any]]:
    """Decoded pixels as stored, [H, W] or [H, W, samples], within BitsStored.

    Whatever a file has above BitsStored is left out (PS3.5 8.1.1); what a lossy codec overshoots is clipped. Raises
    ValueError and whatever the decoders raise for damaged pixels, and for more than one whole frame of them.
    """
    syntax = data.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        _check_fragments(data)
    else:
        _check_length(data)
    if syntax in JPEG_FAMILY:
        _check_codestream(data)
    if syntax == JPEGExtended12Bit and data.BitsStored > 8:
        pixels = decode_12_bit(get_frame(data.PixelData, 0, number_of_frames=1), data)
    else:
        pixels = _decoded(data)
    return _within_bits_stored(pixels, data)


def _decoded(data: Dataset) -> NDArray[np.integer[Any]]:
    """The pixels as the plugins of pydicom decode them, or pydicom itself. Raises ValueError and what they raise."""
    *first, last = PLUGINS.get(data.file_meta.TransferSyntaxUID, ("",))
    for plugin in first:
        with suppress(RuntimeError):
            return pixel_array(data, index=0, decoding_plugin=plugin, correct_unused_bits=False)
    try:
        return pixel_array(data, index=0, decoding_plugin=last, correct_unused_bits=False)
    except RuntimeError as error:  # "all available plugins", with whatever they made of it, which is no message
        raise ValueError("its compressed pixels are damaged") from error


def _within_bits_stored(pixels: NDArray[np.integer[Any]], data: Dataset) -> NDArray[np.integer[Any]]:
    """The BitsStored bits below HighBit, with the sign that PixelRepresentation says."""
    bits, above = int(data.BitsStored), 8 * pixels.dtype.itemsize - int(data.BitsStored)
    low_bits = int(data.get("HighBit", bits - 1)) + 1 - bits
    if low_bits and above and _shifted(pixels, low_bits, bits):
        pixels = pixels >> low_bits
    if above <= 0:
        return pixels
    signed = pixels.dtype.kind == "i"
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    if pixels.min() >= low and pixels.max() <= high:
        return pixels
    if data.file_meta.TransferSyntaxUID in LOSSY:
        return np.clip(pixels, low, high)
    return pixels << above >> above


def _shifted(pixels: NDArray[np.integer[Any]], low_bits: int, bits: int) -> bool:
    """Whether pixels lie below HighBit rather than at the lowest bits, where HighBit is not BitsStored - 1.

    Only such files as tell by the bits that they leave empty are read: the tag is wrong in some. Raises ValueError.
    """
    used = int(np.bitwise_or.reduce(pixels, axis=None)) & ((1 << 8 * pixels.dtype.itemsize) - 1)
    if used < 1 << bits:
        return False
    if low_bits > 0 and not used & ((1 << low_bits) - 1):
        return True
    raise ValueError(f"its HighBit does not fit {bits} bits stored")


def _check_length(data: Dataset) -> None:
    """Refuse uncompressed pixels that are enough for a second frame: which of them are the image is anybody's guess."""
    bits = int(data.Rows) * int(data.Columns) * int(data.SamplesPerPixel) * int(data.BitsAllocated)
    frames = 8 * len(data.PixelData) // max(bits, 1)
    if frames > 1:
        raise ValueError(f"its pixel data is enough for {frames} frames, its header promises one")


def _check_fragments(data: Dataset) -> None:
    """Refuse compressed pixels of more than one frame, and RLE that is longer than any encoder makes it."""
    syntax = data.file_meta.TransferSyntaxUID
    fragments = list(generate_fragments(data.PixelData))[1:]  # behind the offset table
    images = len(fragments) if syntax == RLELossless else sum(part.startswith(IMAGE_STARTS) for part in fragments)
    if images > 1:
        raise ValueError(f"its pixel data has {images} frames, its header promises one")
    frame = int(data.Rows) * int(data.Columns) * int(data.SamplesPerPixel) * int(data.BitsAllocated) // 8
    if syntax == RLELossless and _length(fragments) > 2 * frame + 1024:
        raise ValueError(f"its {_length(fragments):,} bytes of RLE are too many for an image of {frame:,}")


def _length(parts: Sequence[bytes]) -> int:
    return sum(len(part) for part in parts)


def _check_codestream(data: Dataset) -> None:
    """Refuse a compressed image whose own frame header contradicts the DICOM header.

    GDCM aborts the whole process on some of these, and a small header must not let a huge image in.
    """
    stream = get_frame(data.PixelData, 0, number_of_frames=1)
    frame = read_frame(stream)
    if frame is None:
        raise ValueError("its compressed image has no frame header")
    if data.file_meta.TransferSyntaxUID in JPEGTransferSyntaxes and not unbroken(stream):
        raise ValueError("its compressed image is damaged before its first scan")
    expected = (data.Rows, data.Columns, data.SamplesPerPixel)
    if frame[:3] != expected or frame.bits > data.BitsAllocated:
        raise ValueError(
            f"its compressed image has {frame.width} x {frame.height} pixels of {frame.samples} x {frame.bits} bits, "
            f"its header says {data.Columns} x {data.Rows} of {data.SamplesPerPixel} x {data.BitsAllocated}"
        )
