"""Files with random damage: an image or one line, never a traceback, a crash or a hang. A sample; seeds are fixed."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from support.decoding import decode_in_child, no_promise_broken
from support.dicom_files import GDCM_SYNTAXES, transcode, write_dicom

EACH = 20
Y, X = np.mgrid[:48, :41]
DEEP = np.rint((np.sin(X / 9) * np.cos(Y / 11) + 1) / 2 * 4095).astype("u2")
GRAY = (DEEP >> 4).astype("u1")
COLOUR = np.dstack([GRAY, GRAY[::-1], GRAY, GRAY])
HEAD = 1500  # bytes, where most of what a reader believes stands


def dicom(folder: Path, name: str) -> Path:
    """A DICOM file with what ``grayscale.py`` reads, in a transfer syntax."""
    tags: dict[str, Any] = {"WindowCenter": 2000, "WindowWidth": 3000, "PixelPaddingValue": 0}
    syntax = {"syntax": RLELossless} if name == "rle" else {}
    eight = name.startswith("jpeg_baseline")
    path = write_dicom(folder / "a.dcm", GRAY if eight else DEEP, bits_stored=8 if eight else 12, **syntax, **tags)
    if name == "deflated":
        data = pydicom.dcmread(path)
        data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        data.save_as(path)
    return transcode(path, folder / "b.dcm", GDCM_SYNTAXES[name]) if name in GDCM_SYNTAXES else path


def plain(folder: Path, name: str) -> Path:
    """A PNG, TIFF, JPEG, JPEG 2000 or BMP."""
    pixels, options = {
        "a.png": (COLOUR, {}), "deep.png": (DEEP, {}), "raw.tif": (DEEP, {}), "a.bmp": (GRAY, {}), "a.jp2": (GRAY, {}),
        "lzw.tif": (GRAY, {"compression": "tiff_lzw", "tiffinfo": {0x0112: 6}}),
        "jpeg.tif": (COLOUR[..., :3], {"compression": "jpeg"}), "a.jpg": (COLOUR[..., :3], {}),
        "progressive.jpg": (COLOUR[..., :3], {"progressive": True}),
    }[name]  # fmt: skip
    Image.fromarray(pixels).save(folder / name, **options)
    return folder / name


DICOM = ["raw", "rle", "deflated", "jpeg_baseline", "jpeg_lossless", "jpeg_ls", "jpeg2000_lossless"]
PLAIN = ["a.png", "deep.png", "raw.tif", "lzw.tif", "jpeg.tif", "a.jpg", "progressive.jpg", "a.jp2", "a.bmp"]


def damaged(whole: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, cut out, put in, moved, or the end missing."""
    data, size = bytearray(whole), len(whole)
    at, other = rng.randrange(min(size, HEAD) - 4), rng.randrange(size)
    how = rng.choice(["anywhere", "head", "head", "bits", "word", "cut", "insert", "delete", "move"])
    if how in ("anywhere", "head"):
        for _ in range(rng.choice([1, 2, 5, 20])):
            data[rng.randrange(size if how == "anywhere" else min(size, HEAD))] = rng.randrange(256)
    elif how == "bits":
        data[at] ^= 1 << rng.randrange(8)
    elif how == "word":
        data[at : at + 4] = rng.choice([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\0\0", b"\0\0\1\0"])
    elif how == "cut":
        del data[other:]
    elif how == "insert":
        data[other:other] = rng.randbytes(rng.choice([1, 4, 100]))
    elif how == "delete":
        del data[other : other + rng.choice([1, 4, 100])]
    else:
        data[at : at + 50] = data[other : other + 50]
    return bytes(data)


def test_damaged_files_are_images_or_one_line(tmp_path: Path) -> None:
    files = []
    makers: list[tuple[Callable[[Path, str], Path], str]] = [*((dicom, n) for n in DICOM), *((plain, n) for n in PLAIN)]
    for make, name in makers:
        folder = tmp_path / name
        folder.mkdir()
        source = make(folder, name)
        whole, rng = source.read_bytes(), random.Random(name)
        for number in range(EACH):
            path = folder / f"{number}{source.suffix}"
            path.write_bytes(damaged(whole, rng))
            files.append(path)
    result = decode_in_child(files)
    assert no_promise_broken(result.found) == []
    refused = sum(outcome["decode"] is not None for outcome in result.found.values())
    assert 0.2 < refused / len(files) < 0.95, "most damage is seen, some does not matter"
    assert result.peak < 700 << 20
