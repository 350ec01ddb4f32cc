"""DICOM: from stored values to the gray that a reading room shows."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
)

from cxrbench.data.decode.codestream import read_frame, unbroken
from cxrbench.data.decode.jpeg12 import decode_12_bit
from cxrbench.errors import BadImageError

# pydicom warns of oddities that do not matter here (PatientAge without its unit, ...). Once and for all, because
# warnings.catch_warnings is not safe in threads.
warnings.filterwarnings("ignore", module=r"pydicom\.")

EXTENSIONS = (".dcm", ".dicom", ".dic")
DISPLAY_BITS = 8
JPEG_FAMILY = frozenset([*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes])
Pixels = NDArray[np.integer[Any]]
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def is_dicom(path: Path) -> bool:
    """Whether the file has a DICOM extension or the DICOM magic bytes."""
    if path.suffix.lower() in EXTENSIONS:
        return True
    with open(path, "rb") as handle:
        return handle.read(132)[128:] == b"DICM"


def read_header(path: Path) -> Dataset:
    """Everything before the pixels. Raises BadImageError for a file that is no DICOM image."""
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        if header.get("Rows") and header.get("Columns"):
            return header
    except FileNotFoundError as error:
        raise BadImageError(path, "no such file") from error
    # pydicom raises AttributeError, ValueError, struct.error, EOFError and others on damaged files
    except Exception as error:
        raise BadImageError(path, f"damaged DICOM header ({_one_line(error)})") from error
    raise BadImageError(path, "not a DICOM image: its header has no Rows and Columns")


def decode_dicom(path: Path, *, max_pixels: int) -> NDArray[np.float32]:
    """Decode a single-frame DICOM image to gray [H, W], float32 in [0, 1], 0 black.

    The pipeline of PS3.3 C.7.6.3 and C.11: stored values, modality LUT or rescale, VOI LUT or window (the first
    where there are several; the LUT before the window), then MONOCHROME1 inverted. PresentationLUTShape is not
    looked at: INVERSE repeats what MONOCHROME1 says. Without LUT and window see ``_range``. Raises BadImageError
    for several frames, more than ``max_pixels`` pixels (before decoding), or data that cannot be decoded.
    """
    _check_header(path, read_header(path), max_pixels)
    try:
        data = pydicom.dcmread(path, force=True)
        if "PixelData" not in data:
            raise BadImageError(path, "no pixel data: the file is truncated or holds no image")
        if "TransferSyntaxUID" not in data.file_meta:  # a file without the meta header: old, but valid
            implicit = data.original_encoding[0]
            data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        _check_codestream(path, data)
        pixels = _stored_values(data)
        return _gray(pixels, data) if pixels.ndim == 2 and not _palette(data) else _luma(pixels, data)
    except BadImageError:
        raise
    # the decoders raise AttributeError, ValueError, RuntimeError, NotImplementedError and others
    except Exception as error:
        raise BadImageError(path, f"damaged or unsupported DICOM ({_one_line(error)})") from error


def _stored_values(data: Dataset) -> Pixels:
    """Decoded pixels as stored, [H, W] or [H, W, samples], by the library that does it right, then fast."""
    syntax = data.file_meta.TransferSyntaxUID
    if syntax == JPEGExtended12Bit and data.BitsStored > 8:
        return decode_12_bit(get_frame(data.PixelData, 0, number_of_frames=1), data)
    # Pillow decodes 8-bit JPEG at twice GDCM's speed, to the same values
    return pixel_array(data, decoding_plugin="pillow" if syntax == JPEGBaseline8Bit else "")


def _check_header(path: Path, header: Dataset, max_pixels: int) -> None:
    """Refuse what cannot or must not be decoded, from the header alone."""
    width, height, frames = int(header.Columns), int(header.Rows), int(header.get("NumberOfFrames") or 1)
    if frames > 1:
        raise BadImageError(path, f"it has {frames} frames; a chest X-ray has one")
    if width * height > max_pixels:
        raise BadImageError(path, f"{width} x {height} pixels are more than the limit of {max_pixels:,}")


def _check_codestream(path: Path, data: Dataset) -> None:
    """Refuse a compressed image whose own frame header contradicts the DICOM header.

    GDCM aborts the whole process on some of these, and a small header must not let a huge image in.
    """
    if data.file_meta.TransferSyntaxUID not in JPEG_FAMILY:
        return
    stream = get_frame(data.PixelData, 0, number_of_frames=1)
    frame = read_frame(stream)
    if frame is None:
        raise BadImageError(path, "its compressed image has no frame header")
    if data.file_meta.TransferSyntaxUID in JPEGTransferSyntaxes and not unbroken(stream):
        raise BadImageError(path, "its compressed image is damaged before its first scan")
    expected = (data.Rows, data.Columns, data.SamplesPerPixel)
    if frame[:3] != expected or frame.bits > data.BitsAllocated:
        raise BadImageError(
            path,
            f"its compressed image has {frame.width} x {frame.height} pixels of {frame.samples} x {frame.bits} bits, "
            f"its header says {data.Columns} x {data.Rows} of {data.SamplesPerPixel} x {data.BitsAllocated}",
        )


def _palette(data: Dataset) -> bool:
    return data.PhotometricInterpretation == "PALETTE COLOR"


def _luma(pixels: Pixels, data: Dataset) -> NDArray[np.float32]:
    """Colour to luma (ITU-R 601); pydicom has already turned YBR into RGB. A secondary capture: no LUT applies."""
    if _palette(data):
        pixels = apply_color_lut(pixels, data)
        top = 2 ** (8 * pixels.dtype.itemsize) - 1
    else:
        top = 2**data.BitsStored - 1
    return np.clip(pixels[..., :3].astype(np.float32) @ LUMA / np.float32(top), 0, 1)


def _gray(pixels: Pixels, data: Dataset) -> NDArray[np.float32]:
    """Gray in [0, 1] of stored values [H, W].

    The whole pipeline runs once on every value that BitsStored allows, and the image looks its pixels up: exact, and
    far cheaper than floating point on millions of pixels. Values outside (junk above BitsStored) are clipped.
    """
    bits = int(data.BitsStored)
    if bits > 16:
        raise ValueError(f"{bits} bits stored; at most 16 are supported")
    lowest = -(1 << (bits - 1)) if data.PixelRepresentation else 0
    stored = np.arange(lowest, lowest + (1 << bits))
    values = _modality(stored, data)
    table = _voi(values, data)
    if table is None:
        low, high = _range(pixels, values, lowest, data)
        table = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    if data.PhotometricInterpretation == "MONOCHROME1":
        table = 1 - table
    index = pixels if lowest == 0 else pixels.astype(np.int32) - lowest
    return np.take(table.astype(np.float32), index, mode="clip")


def _modality(stored: NDArray[np.int64], data: Dataset) -> NDArray[np.float64]:
    """Modality LUT, or slope and intercept, or nothing. PS3.3 C.11.1."""
    if data.get("ModalityLUTSequence"):
        return _look_up(stored, data.ModalityLUTSequence[0], data)[0]
    slope, intercept = data.get("RescaleSlope"), data.get("RescaleIntercept")
    return stored.astype(np.float64) * float(1 if slope is None else slope) + float(intercept or 0)


def _voi(values: NDArray[np.float64], data: Dataset) -> NDArray[np.float64] | None:
    """The first VOI LUT, else the first window, scaled to [0, 1]; None where there is neither. PS3.3 C.11.2.1."""
    if data.get("VOILUTSequence"):
        output, top = _look_up(values, data.VOILUTSequence[0], data)
        return output / top
    center, width = _first(data.get("WindowCenter")), _first(data.get("WindowWidth"))
    if center is None or width is None or width <= 0:
        return None
    function = str(data.get("VOILUTFunction") or "LINEAR").upper()
    if function == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (values - center) / width))
    if function == "LINEAR_EXACT":
        return np.clip((values - center) / width + 0.5, 0, 1)
    return np.clip((values - (center - 0.5)) / max(width - 1, 1e-9) + 0.5, 0, 1)


def _range(pixels: Pixels, values: NDArray[np.float64], lowest: int, data: Dataset) -> tuple[float, float]:
    """Which values become black and white where the file does not say.

    Up to 8 bits: all that can be stored, as for any PNG or JPEG; such files were windowed before they were written.
    Above: the least and greatest value in the image (padding apart), because detectors use a part of their 10 to 16
    bits, and dividing by the whole range would leave the image nearly black.
    """
    if len(values) <= 1 << DISPLAY_BITS:
        return float(values.min()), float(values.max())
    padding = data.get("PixelPaddingValue")
    shown = pixels if padding is None else pixels[pixels != padding]
    if shown.size == 0:
        shown = pixels
    ends = values[np.clip([int(shown.min()) - lowest, int(shown.max()) - lowest], 0, len(values) - 1)]
    return float(ends.min()), float(ends.max())


def _look_up(
    values: NDArray[np.int64] | NDArray[np.float64], item: Dataset, data: Dataset
) -> tuple[NDArray[np.float64], int]:
    """Output of a LUT item and the greatest output that it can hold. PS3.3 C.11.1.1.

    Not pydicom's apply_voi: with 8-bit entries its index wraps at 256, however many entries there are.
    """
    entries, first, bits = (int(number) for number in item.LUTDescriptor)
    raw = item.LUTData
    if isinstance(raw, bytes):
        order = "<" if data.original_encoding[1] else ">"
        entries = entries or 1 << 16
        table = np.frombuffer(raw, np.uint8 if len(raw) <= entries + 1 else f"{order}u2")
    else:
        table = np.asarray(raw)
    index = np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)
    return table.astype(np.float64)[index], (1 << bits) - 1


def _first(value: object) -> float | None:
    """The first number of a multi-valued element; None where the element is missing or empty."""
    if value is None or value == "":
        return None
    if isinstance(value, str | int | float):
        return float(value)
    numbers = list(value)  # pyright: ignore[reportArgumentType]
    return float(numbers[0]) if numbers else None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
