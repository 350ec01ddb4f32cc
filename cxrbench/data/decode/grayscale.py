"""From a DICOM image's stored values to the gray that a reading room shows: PS3.3 C.11.1, C.11.2 and C.7.5.1.1.2."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

DISPLAY_BITS = 8
ROWS = 64  # looked up at a time, because NumPy widens indices to 8 bytes
WORD = 1 << 16
Pixels = NDArray[np.integer[Any]]
Values = NDArray[np.float64]


def gray(pixels: Pixels, data: Dataset) -> NDArray[np.float32]:
    """Gray [H, W] in [0, 1], 0 black, of stored values [H, W] within BitsStored.

    Modality LUT or rescale, then VOI LUT or window, then MONOCHROME1 inverted; padding is black. PresentationLUTShape
    is not looked at: INVERSE repeats what MONOCHROME1 says. The pipeline runs once on every value that BitsStored
    allows, and the image looks its pixels up: exact, and far cheaper than floating point on millions of pixels. Raises
    ValueError for what has no meaning.
    """
    bits = int(data.BitsStored)
    if bits > 16:
        raise ValueError(f"{bits} bits stored; at most 16 are supported")
    lowest = -(1 << (bits - 1)) if data.PixelRepresentation else 0
    stored = np.arange(lowest, lowest + (1 << bits))
    values = _modality(stored, data)
    if not np.isfinite(values).all() or values.min() == values.max():
        raise ValueError(
            f"RescaleSlope {data.get('RescaleSlope')} and RescaleIntercept {data.get('RescaleIntercept')} or its "
            "modality LUT leave no gray values"
        )
    padding = _padding(stored, data)
    shown = _shown(pixels, padding, lowest)
    table = _voi(values, data)
    if table is None:
        table = _stretched(shown, values, lowest)
    if data.PhotometricInterpretation == "MONOCHROME1":
        table = 1 - table
    table[padding] = 0
    small = table.astype(np.float32)
    image = np.empty(pixels.shape, np.float32)
    for top in range(0, len(pixels), ROWS):
        rows = pixels[top : top + ROWS]
        np.take(small, rows if lowest == 0 else rows.astype(np.intp) - lowest, out=image[top : top + ROWS])
    return image


def _modality(stored: NDArray[np.int64], data: Dataset) -> Values:
    """Modality LUT, or slope and intercept, or nothing. PS3.3 C.11.1."""
    if data.get("ModalityLUTSequence"):
        return _look_up(stored.astype(np.float64), data.ModalityLUTSequence[0], data)
    slope, intercept = data.get("RescaleSlope"), data.get("RescaleIntercept")
    return stored.astype(np.float64) * float(1 if slope is None else slope) + float(intercept or 0)


def _voi(values: Values, data: Dataset) -> Values | None:
    """The first VOI LUT, else the first window, that can be used, in [0, 1]; None without one. PS3.3 C.11.2.1.

    A LUT is scaled by the range of its own entries: the number of bits in its descriptor is wrong in too many files.
    """
    for item in data.get("VOILUTSequence") or ():
        output = _look_up(values, item, data)
        low, high = _ends_of(item, data)
        if high > low:
            return (output - low) / (high - low)
    function = str(data.get("VOILUTFunction") or "LINEAR").strip().upper()
    for center, width in zip(_numbers(data, "WindowCenter"), _numbers(data, "WindowWidth"), strict=False):
        least = 0 if function in ("LINEAR_EXACT", "SIGMOID") else 1
        if np.isfinite([center, width]).all() and width > 0 and width >= least:
            return _window(values, center, width, function)
    return None


def _window(values: Values, center: float, width: float, function: str) -> Values:
    """The three functions of PS3.3 C.11.2.1.2 and C.11.2.1.3, to [0, 1]."""
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700)))
    if function == "LINEAR_EXACT":
        return np.clip((values - center) / width + 0.5, 0, 1)
    if width == 1:  # a step: black up to it, white above
        return (values > center - 0.5).astype(np.float64)
    return np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1)


def _stretched(shown: tuple[int, int], values: Values, lowest: int) -> Values:
    """[0, 1] over the range that the image uses, where the file does not say.

    Up to 8 bits: all that can be stored, as for any PNG or JPEG; such files were windowed before they were written.
    Above: the least and greatest value in the image (padding apart), because detectors use a part of their 10 to 16
    bits, and dividing by the whole range would leave the image nearly black.
    """
    used = values if len(values) <= 1 << DISPLAY_BITS else values[[shown[0] - lowest, shown[1] - lowest]]
    low, high = float(used.min()), float(used.max())
    return np.clip((values - low) / max(high - low, 1e-12), 0, 1)


def _padding(stored: NDArray[np.int64], data: Dataset) -> NDArray[np.bool_]:
    """Which stored values are padding: PixelPaddingValue, up to PixelPaddingRangeLimit where there is one.

    Both are read with the sign of the pixels, whatever their VR says: many files have -2000 as 63536. A file with
    several values means each of them.
    """
    signed = bool(data.PixelRepresentation)

    def as_stored(name: str) -> list[int]:
        numbers = [int(number) % WORD for number in _numbers(data, name) if np.isfinite(number)]
        return [n - WORD if signed and n >= WORD // 2 else n for n in numbers]

    ends, limits = as_stored("PixelPaddingValue"), as_stored("PixelPaddingRangeLimit")
    if len(ends) == len(limits) == 1:
        return (stored >= min(ends + limits)) & (stored <= max(ends + limits))
    return np.isin(stored, ends)


def _shown(pixels: Pixels, padding: NDArray[np.bool_], lowest: int) -> tuple[int, int]:
    """The least and greatest stored value that is not padding."""
    if not padding.any():
        return int(pixels.min()), int(pixels.max())
    ends = []
    for top in range(0, len(pixels), ROWS):
        rows = pixels[top : top + ROWS]
        kept = rows[~np.take(padding, rows.astype(np.intp) - lowest)]
        if kept.size:
            ends += [int(kept.min()), int(kept.max())]
    if not ends:
        raise ValueError("all of its pixels are padding")
    return min(ends), max(ends)


def _look_up(values: Values, item: Dataset, data: Dataset) -> Values:
    """Output of a LUT item. PS3.3 C.11.1.1.

    Not pydicom's apply_voi: with 8-bit entries its index wraps at 256, however many entries there are.
    """
    table = _entries(item, data)
    number = int(item.LUTDescriptor[1]) % WORD
    # Its sign is that of the values, but files have the other VR. Right is what covers more of the possible values.
    low, high = float(values.min()), float(values.max())
    first = max((number, number - WORD), key=lambda at: min(at + len(table) - 1, high) - max(at, low))
    return table[np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)]


def _ends_of(item: Dataset, data: Dataset) -> tuple[float, float]:
    table = _entries(item, data)
    return float(table.min()), float(table.max())


def _entries(item: Dataset, data: Dataset) -> Values:
    """The entries of a LUT item, unsigned: words, or bytes where there are as many bytes as entries."""
    entries = int(item.LUTDescriptor[0]) % WORD or WORD
    raw: Any = item.LUTData
    little = bool(data.original_encoding[1])
    if not isinstance(raw, bytes):
        words = np.atleast_1d(np.asarray(raw)).astype(np.int64) % WORD
        raw = words.astype("<u2" if little else ">u2").tobytes()
    table = np.frombuffer(raw, np.uint8 if entries <= len(raw) <= entries + 1 else "<u2" if little else ">u2")
    if len(table) < entries:
        raise ValueError(f"a LUT has {len(table)} of its {entries} entries")
    return table[:entries].astype(np.float64)


def _numbers(data: Dataset, name: str) -> Iterator[float]:
    """The numbers of an element; none where it is missing or empty."""
    value = data.get(name)
    if value is None or value == "":
        return
    if isinstance(value, bytes):
        raise ValueError(f"{name} is not a number")
    for number in [value] if isinstance(value, str | int | float) else value:
        yield float(number)
