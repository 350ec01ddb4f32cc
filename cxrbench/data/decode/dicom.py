"""DICOM files: the header, what it promises, and the way from the file to gray."""

import io
import os
import warnings
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.filereader import data_element_generator, read_dataset, read_file_meta_info
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
)

from cxrbench.data.decode.grayscale import Pixels, gray
from cxrbench.data.decode.source import Source
from cxrbench.data.decode.stored_values import stored_values
from cxrbench.errors import BadImageError

# pydicom warns of oddities that do not matter here (PatientAge without its unit, ...). Once and for all, because
# warnings.catch_warnings is not safe in threads.
warnings.filterwarnings("ignore", module=r"pydicom\.")

EXTENSIONS = (".dcm", ".dicom", ".dic")
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
ROWS = 256  # turned into luma at a time
PIXEL_DATA = 0x7FE00010
DEFLATED = DeflatedExplicitVRLittleEndian.encode()
"""Stands at the head of files that pydicom would inflate without a limit, and seldom of others."""
HEADER_BYTES = 1 << 24
"""Of a deflated file: as much of its header, and of whatever follows its pixels, is inflated."""


class Rest(NamedTuple):
    """Where the elements behind a header start in the file, and how they are encoded, whatever its syntax says."""

    start: int
    implicit: bool
    little: bool


def is_dicom(path: Path) -> bool:
    """Whether the file has a DICOM extension or the DICOM magic bytes."""
    if path.suffix.lower() in EXTENSIONS:
        return True
    with open(path, "rb") as handle:
        return handle.read(132)[128:] == b"DICM"


def read_header(path: Path) -> Dataset:
    """Everything before the pixels. Raises BadImageError for a file that is no DICOM image."""
    return _read_header(path)[0]


def _read_header(path: Path) -> tuple[Dataset, Rest | None]:
    """``read_header``, and how the file goes on behind it; None where it is, or may be, deflated."""
    try:
        with open(path, "rb") as handle:
            start = handle.read(1 << 16)
            if DEFLATED in start:
                header, rest = _inflate(path, HEADER_BYTES, stop_before_pixels=True)[0], None
            else:
                handle.seek(0)
                header = pydicom.dcmread(handle, stop_before_pixels=True, force=True)
                rows: Any = header.get_item("Rows") if "Rows" in header else None
                implicit, little = getattr(rows, "is_implicit_VR", False), getattr(rows, "is_little_endian", True)
                rest = Rest(handle.tell(), implicit, little)
        if header.get("Rows") and header.get("Columns"):
            return header, rest
    except FileNotFoundError as error:
        raise BadImageError(path, "no such file") from error
    # pydicom raises AttributeError, ValueError, struct.error, EOFError and others on damaged files
    except Exception as error:
        raise BadImageError(path, f"damaged DICOM header ({_one_line(error)})") from error
    raise BadImageError(path, "not a DICOM image: its header has no Rows and Columns")


def dicom_source(path: Path) -> Source:
    """What the header promises. Raises BadImageError for a damaged header and for several frames.

    A DICOM image is single-frame, of any transfer syntax that pydicom or GDCM decodes (``stored_values.py``); its gray
    is that of ``grayscale.py``, colour becomes luma (ITU-R 601).
    """
    header, rest = _read_header(path)
    try:
        height, width, frames = int(header.Rows), int(header.Columns), int(header.get("NumberOfFrames") or 1)
        memory = _memory(header, os.path.getsize(path))
    except Exception as error:
        raise BadImageError(path, f"damaged DICOM header ({_one_line(error)})") from error
    if frames > 1:
        raise BadImageError(path, f"it has {frames} frames; a chest X-ray has one")
    return Source(height, width, memory, lambda: _decode(path, header, rest))


def _decode(path: Path, header: Dataset, rest: Rest | None) -> NDArray[np.float32]:
    """Decode to gray [H, W], float32 in [0, 1], 0 black."""
    try:
        data = _inflated(path, header) if rest is None else _with_pixels(path, header, rest)
        if "PixelData" not in data:
            raise ValueError("no pixel data: the file is truncated or holds no image")
        if "TransferSyntaxUID" not in data.file_meta:  # a file without the meta header: old, but valid
            implicit = data.original_encoding[0]
            data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        pixels = stored_values(data)
        palette = data.PhotometricInterpretation == "PALETTE COLOR"
        if pixels.ndim == 2 and not palette:
            return gray(pixels, data)
        return _luma(apply_color_lut(pixels, data), None) if palette else _luma(pixels, int(data.BitsStored))
    # the decoders raise AttributeError, ValueError, RuntimeError, NotImplementedError and others
    except Exception as error:
        raise BadImageError(path, f"damaged or unsupported DICOM ({_one_line(error)})") from error


def _memory(header: Dataset, file_bytes: int) -> int:
    """Bytes that decoding takes at most: the file, copies of the stored values on the way, and the gray image."""
    pixels, samples = int(header.Rows) * int(header.Columns), int(header.get("SamplesPerPixel") or 1)
    stored = samples * max(1, int(header.get("BitsAllocated") or 16) // 8)
    if header.get("PhotometricInterpretation") == "PALETTE COLOR":
        stored += 6
    syntax = header.file_meta.get("TransferSyntaxUID") if hasattr(header, "file_meta") else None
    if syntax is None or not (syntax == DeflatedExplicitVRLittleEndian or UID(syntax).is_encapsulated):
        return file_bytes + pixels * (stored + 4)
    # GDCM decodes into a buffer, copies it, and hands it over as text, two bytes a letter; OpenJPEG has 4-byte samples
    inside = 4 * samples if syntax in JPEG2000TransferSyntaxes else 0
    return 2 * file_bytes + pixels * (5 * stored + inside + 2)


def _luma(pixels: Pixels, bits: int | None) -> NDArray[np.float32]:
    """Luma of [H, W, samples] with ``bits`` bits (None: all of the type). No LUT applies to a secondary capture.

    pydicom has already turned YBR into RGB.
    """
    top = np.float32(2 ** (bits or 8 * pixels.dtype.itemsize) - 1)
    image = np.empty(pixels.shape[:2], np.float32)
    for row in range(0, len(pixels), ROWS):
        image[row : row + ROWS] = np.clip(pixels[row : row + ROWS, :, :3].astype(np.float32) @ LUMA / top, 0, 1)
    return image


def _with_pixels(path: Path, header: Dataset, rest: Rest) -> Dataset:
    """The whole file: its header, to which is added what follows, read as the header was."""
    with open(path, "rb") as handle:
        handle.seek(rest.start)
        with suppress(EOFError, NotImplementedError):  # for which dcmread, too, gives up all that it has read
            header.update({e.tag: e for e in data_element_generator(handle, rest.implicit, rest.little)})
    return header


def _inflated(path: Path, header: Dataset) -> Dataset:
    """The whole file, if it inflates to what its header promises. Raises ValueError."""
    samples = int(header.Rows) * int(header.Columns) * int(header.SamplesPerPixel)
    frame = samples * -(-int(header.BitsAllocated) // 8)
    data, more = _inflate(path, 2 * HEADER_BYTES + frame, stop_before_pixels=False)
    if more:
        raise ValueError(f"it inflates to more than the {frame:,} bytes of pixels that its header promises")
    return data


def _inflate(path: Path, limit: int, *, stop_before_pixels: bool) -> tuple[Dataset, bool]:
    """A deflated file's elements from its first ``limit`` bytes, and whether there are more. PS3.5 A.5."""
    meta = read_file_meta_info(path)
    if meta.TransferSyntaxUID != DeflatedExplicitVRLittleEndian:  # the name stood elsewhere in the file
        return pydicom.dcmread(path, stop_before_pixels=stop_before_pixels, force=True), False
    with open(path, "rb") as handle:
        handle.seek(132 + 12 + int(meta.FileMetaInformationGroupLength))
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        content = inflater.decompress(handle.read(), limit)
    stop = (lambda tag, *_: tag == PIXEL_DATA) if stop_before_pixels else None
    data = read_dataset(io.BytesIO(content), False, True, stop_when=stop)
    data.file_meta = meta
    data.set_original_encoding(False, True)
    return data, not inflater.eof


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
