"""Phantom images as DICOM files: as challenges publish them, and as hospitals send them.

The few elements of a file are encoded here (PS3.5 7.1, explicit VR, little endian): a general writer takes longer over
them than the image takes to be compressed.
"""

import io
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.base import RLELosslessEncoder
from pydicom.uid import (
    UID,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)
from pydicom.uid import SecondaryCaptureImageStorage as SecondaryCapture

from cxrbench.phantom.cases import Case
from cxrbench.phantom.image import Radiograph

Elements = dict[int, tuple[str, str | int | bytes]]
"""VR and value by tag; several values of a text are separated by backslashes."""

PIXELS = 0x7FE00010
LONG = ("OB", "OW")  # these have a length of 32 bits
UNDEFINED = 0xFFFFFFFF
END_OF_SEQUENCE = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def write_jpeg(case: Case, image: Radiograph, path: Path) -> None:
    """The image as RSNA and SIIM store it: 8 bit, JPEG baseline, MONOCHROME2, secondary capture.

    The file of a blank case ends where the pixels would begin, as does ``write_raw``'s.
    """
    elements = _header(case, SecondaryCapture, image.shape, 8, 8, 0.143 * 1024 / image.shape[0]) | {
        0x00101010: ("AS", str(case.age)),
        0x00180015: ("CS", "CHEST"),
        0x00185101: ("CS", image.view),
        0x00282110: ("CS", "01"),
        0x00282114: ("CS", "ISO_10918_1"),
    }
    if not case.blank:
        frame = io.BytesIO()
        Image.fromarray(np.rint(image.image * 255).astype(np.uint8)).save(frame, "JPEG", quality=90)
        elements[PIXELS] = "OB", encapsulate([frame.getvalue()])
    _write(path, case, SecondaryCapture, JPEGBaseline8Bit, elements)


def write_raw(case: Case, image: Radiograph, path: Path) -> None:
    """The image as hospitals send it: 12 or 14 bit, some inverted, some without window, some run-length compressed."""
    rng = case.rng(2)
    stored = int(rng.choice([12, 14], p=[0.8, 0.2]))
    top = 2**stored - 1
    low, span = rng.uniform(0, 0.1) * top, rng.uniform(0.75, 0.9) * top
    centre, storage = low + span / 2, DigitalXRayImageStorageForPresentation
    elements = _header(case, storage, image.shape, 16, stored, 0.139 * 2500 / image.shape[0])
    if inverted := rng.random() < 0.2:
        elements[0x00280004] = "CS", "MONOCHROME1"
        centre = top - centre
    if rng.random() < 0.5:
        elements |= {0x00281052: ("DS", "0.0"), 0x00281053: ("DS", "1.0"), 0x00281054: ("LO", "US")}
    window = rng.random()
    if window < 0.7:
        times = 2 if window < 0.1 else 1
        elements[0x00281050] = "DS", "\\".join([f"{round(centre):.1f}"] * times)
        elements[0x00281051] = "DS", "\\".join([f"{round(span):.1f}", f"{round(span * 1.4):.1f}"][:times])
    if rng.random() < 0.6:
        elements[0x00101010] = "AS", f"{case.age:03d}Y"
    compressed = rng.random() < 0.4
    if not case.blank:
        values = np.rint(low + span * image.image)
        pixels = (top - values if inverted else values).astype("<u2")
        elements[PIXELS] = ("OB", encapsulate([_run_lengths(pixels)])) if compressed else ("OW", pixels.tobytes())
    _write(path, case, storage, RLELossless if compressed else ExplicitVRLittleEndian, elements)


def _run_lengths(pixels: np.ndarray) -> bytes:
    """One frame [H, W] of 16 bits, run-length encoded."""
    height, width = pixels.shape
    return RLELosslessEncoder.encode(
        pixels, encoding_plugin="gdcm", rows=height, columns=width, samples_per_pixel=1, number_of_frames=1,
        bits_allocated=16, bits_stored=16, pixel_representation=0, photometric_interpretation="MONOCHROME2",
    )  # fmt: skip


def _header(case: Case, storage: UID, shape: tuple[int, int], bits: int, stored: int, spacing: float) -> Elements:
    """The elements of every image; every UID derives from the case, and there is no date."""
    return {
        0x00080016: ("UI", storage),
        0x00080018: ("UI", case.uid("instance")),
        0x00080060: ("CS", "DX" if stored > 8 else "CR"),
        0x00100010: ("PN", str(case.key)),
        0x00100020: ("LO", str(case.key)),
        0x00100040: ("CS", case.sex),
        0x0020000D: ("UI", case.uid("study")),
        0x0020000E: ("UI", case.uid("series")),
        0x00280002: ("US", 1),
        0x00280004: ("CS", "MONOCHROME2"),
        0x00280010: ("US", shape[0]),
        0x00280011: ("US", shape[1]),
        0x00280030: ("DS", f"{spacing}\\{spacing}"),
        0x00280100: ("US", bits),
        0x00280101: ("US", stored),
        0x00280102: ("US", stored - 1),
        0x00280103: ("US", 0),
    }


def _write(path: Path, case: Case, storage: UID, syntax: UID, elements: Elements) -> None:
    """Write a file: preamble, file meta information (without its length and version, as old files are), data set."""
    meta = _encoded({
        0x00020002: ("UI", storage),
        0x00020003: ("UI", case.uid("instance")),
        0x00020010: ("UI", syntax),
        0x00020012: ("UI", case.uid("implementation")),
    })  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\0" * 128 + b"DICM" + meta + _encoded(elements, encapsulated=syntax.is_compressed))


def _encoded(elements: Mapping[int, tuple[str, str | int | bytes]], *, encapsulated: bool = False) -> bytes:
    """Elements in the order of their tags; pixels that are ``encapsulated`` are a sequence of undefined length."""
    parts: list[bytes] = []
    for tag, (vr, value) in sorted(elements.items()):
        if isinstance(value, int):
            raw = struct.pack("<H", value)
        else:
            raw = value.encode("ascii") if isinstance(value, str) else value
            raw += (b"\0" if vr in ("UI", *LONG) else b" ") * (len(raw) % 2)
        open_ended = encapsulated and tag == PIXELS
        parts.append(struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode()))
        length = UNDEFINED if open_ended else len(raw)
        parts.append(struct.pack("<HI", 0, length) if vr in LONG else struct.pack("<H", length))
        parts.append(raw)
        if open_ended:
            parts.append(END_OF_SEQUENCE)
    return b"".join(parts)
