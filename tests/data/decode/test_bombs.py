"""Small files that would be huge: one line each, and bounded memory. All of them in one child process."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate, generate_frames
from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian

from cxrbench.data.decode.arrays import read_ecg
from cxrbench.data.decode.images import decode, image_size
from cxrbench.errors import BadImageError
from support.decoding import decode_in_child, no_promise_broken
from support.dicom_files import GDCM_SYNTAXES, transcode, write_dicom

GRAY = np.arange(48 * 40, dtype="u2").reshape(48, 40) % 256
MEGABYTES = 700  # which the imports alone take a good part of


def deflated(path: Path, *, megabytes: int = 0) -> Path:
    """A file of Deflated Explicit VR, with some megabytes of zeros behind its pixels."""
    plain = write_dicom(path.with_suffix(".plain"), GRAY, bits_stored=8)
    data = pydicom.dcmread(plain)
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data.save_as(path)
    whole = path.read_bytes()
    start = 132 + 12 + int(read_file_meta_info(path).FileMetaInformationGroupLength)
    content = zlib.decompress(whole[start:], -15)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    stream = packer.compress(content + struct.pack("<HH2sHI", 0xFFFC, 0xFFFC, b"OB", 0, megabytes << 20))
    stream += packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)  # stands for itself wherever it is
    path.write_bytes(whole[:start] + stream + zeros * megabytes + packer.flush())
    return path


def deflate_bomb(path: Path) -> None:
    deflated(path.with_suffix(".dcm"), megabytes=4000)


def array_that_lies(path: Path) -> None:
    file = path.with_suffix(".npy")
    np.save(file, np.zeros((2, 3, 4, 4), "f4"))
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"(2, 3, 4, 4), }        ", b"(9, 3, 99999, 999), }  "))
    assert file.read_bytes() != whole


def jpeg_2000_that_lies(path: Path) -> None:
    file = path.with_suffix(".jp2")
    Image.fromarray(np.dstack([GRAY.astype("u1")] * 3)).save(file)
    whole = bytearray(file.read_bytes())
    size, frame = struct.pack(">II", 9990, 9990), whole.index(b"\xff\x4f\xff\x51")
    at = whole.index(b"ihdr") + 4
    whole[at : at + 8] = size
    whole[frame + 8 : frame + 16] = size
    whole[frame + 24 : frame + 32] = size
    file.write_bytes(whole)


def tiff(path: Path, entries: list[bytes], *, following: int = 0, tail: bytes = b"") -> None:
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + struct.pack("<I", following)
    path.with_suffix(".tif").write_bytes(b"II*\0" + struct.pack("<I", 8) + directory + tail)


def entry(tag: int, value: int, *, kind: int = 4, count: int = 1) -> bytes:
    return struct.pack("<HHII", tag, kind, count, value)


def tags(height: int, width: int, compression: int = 1) -> list[bytes]:
    return [entry(256, width), entry(257, height), entry(258, 8), entry(259, compression), entry(262, 1),
            entry(273, 8), entry(277, 1), entry(278, height), entry(279, 64)]  # fmt: skip


def tiff_that_lies(path: Path) -> None:
    tiff(path, tags(9000, 9000))


def compressed_tiff_that_lies(path: Path) -> None:
    tiff(path, tags(9000, 9000, compression=5))


def tiff_of_overlapping_tags(path: Path) -> None:
    many = [entry(tag, 8, kind=7, count=600_000) for tag in range(40_000, 42_000)]
    tiff(path, [*tags(9, 9), *many], tail=bytes(600_000))


def tiff_without_end(path: Path) -> None:
    tiff(path, tags(6, 8), following=8, tail=bytes(64))


def png_with_text(kind: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        file = path.with_suffix(".png")
        Image.fromarray(GRAY.astype("u1")).save(file)
        whole = file.read_bytes()
        packer = zlib.compressobj(1)
        first = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
        packed = first + (packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)) * 1000
        text = {b"zTXt": b"a\0\0", b"iTXt": b"a\0\1\0\0\0", b"iCCP": b"a\0\0"}[kind] + packed
        chunk = struct.pack(">I", len(text)) + kind + text + struct.pack(">I", zlib.crc32(kind + text))
        file.write_bytes(whole[:33] + chunk + whole[33:])

    return write


def jpeg_ls_that_lies(path: Path) -> None:
    file = path.with_suffix(".dcm")
    packed = transcode(write_dicom(file, GRAY, bits_stored=8), path.with_suffix(".jls"), GDCM_SYNTAXES["jpeg_ls"])
    data = pydicom.dcmread(packed)
    stream = bytearray(next(generate_frames(data.PixelData, number_of_frames=1)))
    at = stream.index(b"\xff\xf7") + 5
    stream[at : at + 4] = struct.pack(">HH", 9000, 9000)
    data.PixelData = encapsulate([bytes(stream)])
    data.Rows = data.Columns = 9000
    data.save_as(file)


def nested_sequences(path: Path) -> None:
    file = write_dicom(path.with_suffix(".dcm"), GRAY, bits_stored=8)
    deep = struct.pack("<HH2sHI", 0x0040, 0x0275, b"SQ", 0, 0xFFFFFFFF)
    deep += struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    whole = file.read_bytes()
    at = whole.index(struct.pack("<HH", 0x0028, 0x0002))
    file.write_bytes(whole[:at] + deep * 20_000 + whole[at:])


# What is written, and what decoding it says; None where it is an honest image behind a lie that costs nothing.
BOMBS: dict[Callable[[Path], None], str | None] = {
    deflate_bomb: "inflates to more than the 3,840 bytes",
    array_that_lies: "not a whole NumPy array",
    jpeg_2000_that_lies: "decoding its 9990 x 9990 pixels would take 3.2 GB",
    tiff_that_lies: "truncated",
    compressed_tiff_that_lies: "decoder error",
    tiff_of_overlapping_tags: None,
    tiff_without_end: None,
    jpeg_ls_that_lies: "its compressed pixels are damaged",
    nested_sequences: "damaged DICOM header",
    png_with_text(b"zTXt"): "too large",
    png_with_text(b"iTXt"): "too large",
    png_with_text(b"iCCP"): "too large",
}


def test_bombs_are_one_line_each_and_take_little_memory(tmp_path: Path) -> None:
    files: dict[Path, str | None] = {}
    for number, (write, expected) in enumerate(BOMBS.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        write(folder / "a")
        (file,) = [path for path in folder.iterdir() if path.suffix not in (".plain", ".jls")]
        assert file.stat().st_size < 5 << 20
        files[Path(f"{file}#1") if file.suffix == ".npy" else file] = expected
    result = decode_in_child(list(files), threads=4)
    assert no_promise_broken(result.found) == []
    for path, expected in files.items():
        message = result.found[path]["decode"]
        assert (message is None) if expected is None else (expected in (message or "")), (path, message)
    assert result.peak < MEGABYTES << 20


def test_an_honest_deflated_file_is_decoded(tmp_path: Path) -> None:
    path = deflated(tmp_path / "a.dcm")
    assert image_size(path) == GRAY.shape
    np.testing.assert_allclose(decode(path), GRAY / 255, atol=1e-6)


def test_an_ecg_that_lies_about_its_shape_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ecg.npy"
    np.save(path, np.zeros((12, 5000), "f4"))
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"(12, 5000), }      ", b"(12, 5000000000), }"[:19]))
    assert path.read_bytes() != whole
    with pytest.raises(BadImageError, match="not a whole NumPy array"):
        read_ecg(path)
    np.save(path, np.full((12, 50), "a"))
    with pytest.raises(BadImageError, match="needs numbers"):
        read_ecg(path)


def test_what_would_take_too_much_memory_is_refused_by_its_header(tmp_path: Path) -> None:
    """The limit is in bytes, too: 16 for each of ``max_pixels``."""
    path = tmp_path / "a.jp2"
    Image.fromarray(np.zeros((2000, 2000, 3), np.uint8)).save(path)
    assert decode(path).shape == (2000, 2000)
    with pytest.raises(BadImageError, match=r"decoding its 2000 x 2000 pixels would take 0\.1 GB, more than"):
        decode(path, max_pixels=4_000_000)
