"""Polarity, sign, depth and orientation of plain image files: one rule for all formats, on arrays that we wrote."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from cxrbench.data.decode.images import decode, image_size
from cxrbench.errors import BadImageError

RNG = np.random.default_rng(0)
TALL = np.kron(RNG.integers(0, 256, (3, 5), np.uint8), np.ones((8, 8), np.uint8))  # 24 x 40
DEEP = RNG.integers(0, 4001, (24, 40), np.uint16)
DEEP[0, 0] = 4000
ORIENTATION = 0x0112


def png(path: Path, channels: NDArray[np.uint16], *, interlaced: bool = False, extra: bytes = b"") -> Path:
    """A 16-bit PNG of [H, W, 1 to 4] channels, written by hand: Pillow writes only gray ones. PNG 3rd ed., 11.2."""
    height, width, samples = channels.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[samples]
    starts = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    passes = [channels[y::dy, x::dx] for y, x, dy, dx in starts] if interlaced else [channels]
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for part in passes if part.size for row in part)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, int(interlaced))
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def tiff(path: Path, pixels: NDArray[Any], *, photometric: int = 1, sample_format: int = 1) -> Path:
    """An uncompressed little-endian gray TIFF in one strip. TIFF 6.0, sections 2 to 4 and 19."""
    height, width = pixels.shape
    tags = [(256, width), (257, height), (258, 8 * pixels.dtype.itemsize), (259, 1), (262, photometric), (273, 8),
            (277, 1), (278, height), (279, pixels.nbytes), (339, sample_format)]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory)
    return path


@pytest.mark.parametrize(("dtype", "top"), [("u1", 255), ("u2", 255), ("u2", 4095), ("u2", 65535)])
def test_min_is_white_is_inverted_at_every_depth(tmp_path: Path, dtype: str, top: int) -> None:
    pixels = (DEEP * (top / 4000)).astype(dtype)
    pixels[0, 0] = top
    black = decode(tiff(tmp_path / "black.tif", pixels))
    np.testing.assert_allclose(black, pixels / top, atol=1e-6)
    np.testing.assert_allclose(decode(tiff(tmp_path / "white.tif", pixels, photometric=0)), 1 - black, atol=1e-6)


def test_min_is_white_of_one_bit_and_of_compressed_files(tmp_path: Path) -> None:
    for compression in ("group4", "tiff_lzw"):
        image = Image.fromarray(TALL > 127)
        image.save(tmp_path / "one.tif", compression=compression, tiffinfo={262: 0})
        with Image.open(tmp_path / "one.tif") as again:
            expected = np.asarray(again)
        np.testing.assert_array_equal(decode(tmp_path / "one.tif"), expected.astype(np.float32))


@pytest.mark.parametrize(
    ("dtype", "sample_format", "values"),
    [("i1", 2, (-9, 9)), ("i2", 2, (-2000, 2000)), ("u4", 1, (0, 2**31 + 5)), ("u4", 1, (0, 70_000)),
     ("i4", 2, (0, 1_000_000)), ("f4", 3, (0, 1))],
)  # fmt: skip
def test_pixels_of_unknown_white_are_refused(
    tmp_path: Path, dtype: str, sample_format: int, values: tuple[int, int]
) -> None:
    pixels = np.array([values] * 3).astype(dtype)
    with pytest.raises(BadImageError, match=r"signed|more than 16 bits|floats of unknown range"):
        decode(tiff(tmp_path / "a.tif", pixels, sample_format=sample_format))


@pytest.mark.parametrize(("dtype", "sample_format"), [("i2", 2), ("u4", 1), ("i4", 2)])
def test_wider_types_are_read_where_they_hold_16_unsigned_bits(tmp_path: Path, dtype: str, sample_format: int) -> None:
    image = decode(tiff(tmp_path / "a.tif", DEEP.astype(dtype), sample_format=sample_format))
    np.testing.assert_allclose(image, DEEP / 4095, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("top", [4000, 60000])
def test_16_bit_colour_is_as_bright_as_gray(tmp_path: Path, channels: int, interlaced: bool, top: int) -> None:
    gray = (DEEP * (top / 4000)).astype(np.uint16)
    planes = [gray] * (3 if channels > 2 else 1) + [np.full_like(gray, 65535)] * (channels % 2 == 0)
    path = png(tmp_path / "a.png", np.dstack(planes), interlaced=interlaced)
    np.testing.assert_allclose(decode(path), gray / (4095 if top == 4000 else 65535), atol=2e-6)
    assert image_size(path) == gray.shape


def test_16_bit_colour_becomes_luma_and_its_transparent_pixels_black(tmp_path: Path) -> None:
    rgba = RNG.integers(0, 65536, (24, 40, 4), np.uint16)
    expected = rgba[..., :3] @ np.array([0.299, 0.587, 0.114]) / 65535 * (rgba[..., 3] / 65535)
    np.testing.assert_allclose(decode(png(tmp_path / "a.png", rgba)), expected, atol=2e-6)


def test_transparent_values_of_16_bit_gray_are_black(tmp_path: Path) -> None:
    data = b"tRNS" + struct.pack(">H", 4000)
    chunk = struct.pack(">I", 2) + data + struct.pack(">I", zlib.crc32(data))
    image = decode(png(tmp_path / "a.png", DEEP[..., None], extra=chunk))
    np.testing.assert_allclose(image, np.where(DEEP == 4000, 0, DEEP / 4095), atol=1e-6)


@pytest.mark.parametrize("suffix", ["tif", "jp2"])
def test_16_bit_colour_that_pillow_cuts_down_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "tif":
        tiff(path, DEEP)
        whole = path.read_bytes()
        path.write_bytes(
            whole.replace(struct.pack("<HHII", 258, 4, 1, 16), struct.pack("<HHIHH", 258, 3, 1, 16, 0))
            .replace(struct.pack("<HHII", 262, 4, 1, 1), struct.pack("<HHII", 262, 4, 1, 2))
            .replace(struct.pack("<HHII", 277, 4, 1, 1), struct.pack("<HHII", 277, 4, 1, 3))
        )
    else:
        Image.fromarray(np.dstack([TALL] * 3)).save(path)
        whole = bytearray(path.read_bytes())
        bits = whole.index(b"\xff\x4f\xff\x51") + 42
        whole[bits] = 11  # 12 bits a sample, in the codestream's header
        path.write_bytes(whole)
    with pytest.raises(BadImageError, match="colour of more than 8 bits"):
        decode(path)


def oriented_file(path: Path, turn: int, **options: Any) -> Path:
    exif = Image.Exif()
    exif[ORIENTATION] = turn
    tag: dict[str, Any] = {"tiffinfo": {ORIENTATION: turn}} if path.suffix == ".tif" else {"exif": exif}
    Image.fromarray(TALL).save(path, **tag, **options)
    return path


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("name", ["raw.tif", "lzw.tif", "a.png", "a.jpg"])
def test_one_orientation_in_every_format(tmp_path: Path, turn: int, name: str) -> None:
    """As Pillow's exif_transpose has it, which reads the tag of a file that is not a TIFF."""
    options = {"lzw.tif": {"compression": "tiff_lzw"}, "a.jpg": {"quality": 100}}.get(name, {})
    path = oriented_file(tmp_path / name, turn, **options)
    tagged = oriented_file(tmp_path / "reference.png", turn)
    with Image.open(tagged) as image:
        expected = np.asarray(ImageOps.exif_transpose(image)) / np.float32(255)
    np.testing.assert_allclose(decode(path), expected, atol=2.5 / 255 if name == "a.jpg" else 0)
    assert image_size(path) == expected.shape
    assert expected.shape == ((40, 24) if turn > 4 else (24, 40))


def test_an_exif_chunk_behind_the_pixels_counts_and_a_damaged_one_does_not(tmp_path: Path) -> None:
    tagged = oriented_file(tmp_path / "6.png", 6).read_bytes()
    at = tagged.index(b"eXIf") - 4
    exif = tagged[at : at + 12 + struct.unpack(">I", tagged[at : at + 4])[0]]
    bare = tagged[:at] + tagged[at + len(exif) :]
    late = tmp_path / "late.png"
    late.write_bytes(bare[:-12] + exif + bare[-12:])
    assert image_size(late) == decode(late).shape == (40, 24)
    nonsense = struct.pack(">I", 7) + b"eXIfMM\0*\xff\xff\xff"
    late.write_bytes(bare[:-12] + nonsense + struct.pack(">I", zlib.crc32(nonsense[4:])) + bare[-12:])
    assert image_size(late) == decode(late).shape == (24, 40)


def test_modes_of_unknown_gray_are_refused_with_their_name(tmp_path: Path) -> None:
    Image.new("LAB", (5, 5)).save(tmp_path / "lab.tif")
    with pytest.raises(BadImageError, match="pixels are of kind LAB; save it as 8- or 16-bit gray"):
        decode(tmp_path / "lab.tif")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_every_other_mode_is_decoded_alike_in_tiff_and_png(tmp_path: Path, mode: str) -> None:
    source = Image.fromarray(DEEP) if mode == "I;16" else Image.fromarray(TALL).convert(mode)
    expected = DEEP / 4095 if mode == "I;16" else np.asarray(source.convert("L")) / 255
    for suffix in ("tif", "png"):
        if suffix == "tif" or mode not in ("CMYK", "YCbCr"):
            source.save(tmp_path / f"a.{suffix}")
            np.testing.assert_allclose(decode(tmp_path / f"a.{suffix}"), expected, atol=2.5 / 255, err_msg=suffix)
