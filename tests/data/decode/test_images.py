"""PNG and JPEG decoding against arrays that we wrote and Pillow's own conversions."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrbench.data.decode.images import decode
from cxrbench.errors import BadImageError

RNG = np.random.default_rng(0)
GRAY8 = RNG.integers(0, 256, (33, 47), dtype=np.uint8)
GRAY16 = RNG.integers(0, 65536, (33, 47), dtype=np.uint16)
RGB = RNG.integers(0, 256, (33, 47, 3), dtype=np.uint8)


def saved(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def test_gray_png_8_and_16_bit(tmp_path: Path) -> None:
    image = decode(saved(tmp_path / "8.png", GRAY8))
    assert image.dtype == np.float32
    assert image.flags.writeable
    np.testing.assert_array_equal(image, GRAY8 / np.float32(255))
    np.testing.assert_allclose(decode(saved(tmp_path / "16.png", GRAY16)), GRAY16 / 65535, atol=1e-7)
    np.testing.assert_allclose(decode(saved(tmp_path / "16.tif", GRAY16)), GRAY16 / 65535, atol=1e-7)


def test_ends_of_the_range_are_exact(tmp_path: Path) -> None:
    for ends in (np.array([[0, 255]], np.uint8), np.array([[0, 65535]], np.uint16)):
        np.testing.assert_array_equal(decode(saved(tmp_path / "ends.png", ends)), [[0.0, 1.0]])


def test_colour_is_luma(tmp_path: Path) -> None:
    image = decode(saved(tmp_path / "rgb.png", RGB))
    np.testing.assert_allclose(image, RGB @ np.array([0.299, 0.587, 0.114]) / 255, atol=0.51 / 255)


def test_palette_and_one_bit(tmp_path: Path) -> None:
    palette = Image.fromarray(RGB).quantize(16)
    palette.save(tmp_path / "p.png")
    np.testing.assert_array_equal(decode(tmp_path / "p.png"), np.asarray(palette.convert("L")) / np.float32(255))
    Image.fromarray(GRAY8 > 127).save(tmp_path / "1.png")
    np.testing.assert_array_equal(decode(tmp_path / "1.png"), (GRAY8 > 127).astype(np.float32))


def test_transparent_pixels_are_black(tmp_path: Path) -> None:
    alpha = np.full_like(GRAY8, 255)
    alpha[:10] = 0
    image = decode(saved(tmp_path / "la.png", np.dstack([GRAY8, alpha])))
    np.testing.assert_allclose(image, GRAY8 / 255 * (alpha > 0), atol=1e-6)
    image = decode(saved(tmp_path / "rgba.png", np.dstack([GRAY8, GRAY8, GRAY8, alpha])))
    np.testing.assert_allclose(image, GRAY8 / 255 * (alpha > 0), atol=1e-6)
    indexed = Image.fromarray(GRAY8 // 128 * 255).convert("P")
    indexed.save(tmp_path / "p.png", transparency=255)
    assert (decode(tmp_path / "p.png") == 0).all()


@pytest.mark.parametrize("pixels", [GRAY8, RGB // 4 + 96], ids=["gray", "colour"])
def test_jpeg(tmp_path: Path, pixels: np.ndarray) -> None:
    path = saved(tmp_path / "a.jpg", np.kron(pixels, np.ones((8, 8, 1) if pixels.ndim == 3 else (8, 8), np.uint8)))
    with Image.open(path) as image:
        expected = np.asarray(image.convert("L")) / 255
    np.testing.assert_allclose(decode(path), expected, atol=2.5 / 255)  # luma as stored, not through rounded RGB


def test_cmyk_jpeg(tmp_path: Path) -> None:
    Image.fromarray(RGB).convert("CMYK").save(tmp_path / "a.jpg", quality=100)
    assert decode(tmp_path / "a.jpg").shape == GRAY8.shape


def test_the_pixel_limit_is_checked_on_the_header_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    saved(path, GRAY8)
    header_only = tmp_path / "header.png"
    header_only.write_bytes(path.read_bytes()[:60])  # decoding it could only fail as truncated
    with pytest.raises(BadImageError, match="47 x 33 pixels are more than the limit of 1,550"):
        decode(header_only, max_pixels=1550)
    assert decode(path, max_pixels=47 * 33).shape == (33, 47)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.97])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str, share: float) -> None:
    whole = saved(tmp_path / f"whole.{suffix}", RGB).read_bytes()
    broken = tmp_path / f"broken.{suffix}"
    broken.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BadImageError, match=f"cannot read image .*broken.{suffix}") as caught:
        decode(broken)
    assert "\n" not in str(caught.value)


def test_missing_empty_unknown_and_folder(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not an image " * 50)
    saved(tmp_path / "float.tif", GRAY8.astype(np.float32))
    for name, reason in {
        "missing.png": "no such file", "missing.dcm": "no such file", "empty.png": "the file is empty",
        "text.png": "not a DICOM, PNG", "float.tif": "floats of unknown range", "": "directory",
    }.items():  # fmt: skip
        with pytest.raises(BadImageError, match=f"{reason}"):
            decode(tmp_path / name)


@pytest.mark.parametrize(
    ("white", "divisor"),
    [(65535, 65535), (40000, 65535), (16383, 16383), (9000, 16383), (4095, 4095), (2100, 4095), (1023, 1023),
     (255, 255), (100, 255), (0, 255)],
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_files_that_hold_fewer_bits_are_not_black(
    tmp_path: Path, white: int, divisor: int, suffix: str
) -> None:  # fmt: skip
    pixels = (GRAY16 * (white / 65535)).astype(np.uint16)
    pixels[0, 0] = white
    image = decode(saved(tmp_path / f"deep.{suffix}", pixels))
    np.testing.assert_allclose(image, pixels / divisor, atol=1e-7)
    assert not ((image == 1) & (pixels < divisor)).any(), "nothing is clipped"
