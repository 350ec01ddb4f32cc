"""DICOM decoding against arrays that we wrote, pydicom's own LUT functions, and closed forms of PS3.3."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.processing import apply_modality_lut, apply_windowing
from pydicom.uid import UID, ExplicitVRLittleEndian, RLELossless

from cxrbench.data.decode.images import decode
from cxrbench.data.decode.jpeg12 import decode_12_bit
from cxrbench.errors import BadImageError
from support.dicom_files import GDCM_SYNTAXES, UNCOMPRESSED, transcode, write_dicom

HEIGHT, WIDTH = 48, 41


def smooth(top: int, dtype: str = "u2", low: int = 0) -> NDArray[np.integer]:
    """A smooth image with values from ``low`` to ``top``."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    wave = (np.sin(x / 9) * np.cos(y / 11) + 1) / 2
    wave = (wave - wave.min()) / (wave.max() - wave.min())
    return np.rint(low + wave * (top - low)).astype(dtype)


@pytest.mark.parametrize("syntax", [*UNCOMPRESSED, RLELossless], ids=lambda syntax: syntax.keyword)
@pytest.mark.parametrize("bits", [8, 10, 12, 15, 16])
def test_uncompressed_and_rle_give_the_stored_values(tmp_path: Path, syntax: UID, bits: int) -> None:
    pixels = smooth(2**bits - 1, "u1" if bits == 8 else "u2")
    image = decode(write_dicom(tmp_path / "a.dcm", pixels, bits_stored=bits, syntax=syntax))
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, pixels / (2**bits - 1), atol=1e-6)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("name", ["jpeg_lossless", "jpeg_lossless_sv1", "jpeg_ls", "jpeg2000_lossless"])
def test_lossless_compression_gives_the_stored_values(tmp_path: Path, name: str, bits: int) -> None:
    pixels = smooth(2**bits - 1, "u1" if bits == 8 else "u2")
    plain = write_dicom(tmp_path / "plain.dcm", pixels, bits_stored=bits)
    packed = transcode(plain, tmp_path / "packed.dcm", GDCM_SYNTAXES[name])
    assert pydicom.dcmread(packed).file_meta.TransferSyntaxUID.is_compressed
    np.testing.assert_allclose(decode(packed), pixels / (2**bits - 1), atol=1e-6)


@pytest.mark.parametrize(("name", "bits"), [("jpeg_baseline", 8), ("jpeg_extended", 8), ("jpeg2000", 12)])
def test_lossy_compression_is_close(tmp_path: Path, name: str, bits: int) -> None:
    pixels = smooth(2**bits - 1, "u1" if bits == 8 else "u2")
    plain = write_dicom(tmp_path / "plain.dcm", pixels, bits_stored=bits)
    packed = transcode(plain, tmp_path / "packed.dcm", GDCM_SYNTAXES[name])
    np.testing.assert_allclose(decode(packed), pixels / (2**bits - 1), atol=0.03)


def test_12_bit_jpeg_extended_gives_pydicoms_reference_values() -> None:
    path = Path(str(get_testdata_file("JPGExtended.dcm")))
    data = pydicom.dcmread(path)
    values = decode_12_bit(get_frame(data.PixelData, 0, number_of_frames=1), data)
    # The two pixels by which pydicom checks its other decoders of this file.
    assert (values[420, 140], values[230, 120]) == (244, 95)
    assert values.shape == (data.Rows, data.Columns)
    image = decode(path)
    np.testing.assert_allclose(image, (values - values.min()) / np.ptp(values), atol=1e-6)


def test_a_wrong_end_of_spectral_selection_changes_no_value() -> None:
    """JPEG-lossy.dcm says 0 there, JPGExtended.dcm is the same image with that byte put right."""
    wrong, right = (decode(Path(str(get_testdata_file(name)))) for name in ("JPEG-lossy.dcm", "JPGExtended.dcm"))
    np.testing.assert_array_equal(wrong, right)


def test_16_bits_which_gdcm_writes_as_jpeg_extended_are_refused(tmp_path: Path) -> None:
    plain = write_dicom(tmp_path / "plain.dcm", smooth(4095), bits_stored=12)
    packed = transcode(plain, tmp_path / "packed.dcm", GDCM_SYNTAXES["jpeg_extended"])
    with pytest.raises(BadImageError, match="is supported where it is gray, unsigned and of 12 bits"):
        decode(packed)


@pytest.mark.parametrize("name", ["JPGExtended.dcm", "jpeg_lossless", "jpeg_baseline"])
def test_damage_between_the_segments_of_a_jpeg_is_refused(tmp_path: Path, name: str) -> None:
    """GDCM aborts the whole process on these: if they got through, pytest would not live to say so."""
    if name in GDCM_SYNTAXES:
        plain = write_dicom(tmp_path / "plain.dcm", smooth(255, "u1"), bits_stored=8)
        path = transcode(plain, tmp_path / "packed.dcm", GDCM_SYNTAXES[name])
    else:
        path = Path(str(get_testdata_file(name)))
    whole = path.read_bytes()
    start = whole.index(b"\xff\xd8\xff")
    scan = whole.index(b"\xff\xda", start)
    for at in (whole.index(b"\xff\xc4", start), whole.index(b"\xff\xc4", start) + 1, scan):
        (tmp_path / "broken.dcm").write_bytes(whole[:at] + b"\xd2" + whole[at + 1 :])
        with pytest.raises(BadImageError, match=r"damaged before its first scan"):
            decode(tmp_path / "broken.dcm")


@pytest.mark.parametrize("syntax", [*UNCOMPRESSED, RLELossless], ids=lambda syntax: syntax.keyword)
def test_signed_values(tmp_path: Path, syntax: UID) -> None:
    pixels = smooth(900, "i2", low=-700)
    image = decode(write_dicom(tmp_path / "a.dcm", pixels, bits_stored=12, syntax=syntax))
    np.testing.assert_allclose(image, (pixels + 700) / 1600, atol=1e-6)


def test_monochrome1_is_the_complement(tmp_path: Path) -> None:
    pixels = smooth(3000)
    window: dict[str, Any] = {"WindowCenter": 1400, "WindowWidth": 1800}
    two = decode(write_dicom(tmp_path / "2.dcm", pixels, bits_stored=12, **window))
    one = decode(write_dicom(tmp_path / "1.dcm", pixels, bits_stored=12, photometric="MONOCHROME1", **window))
    np.testing.assert_allclose(one, 1 - two, atol=1e-6)
    inverse = write_dicom(
        tmp_path / "i.dcm", pixels, bits_stored=12, photometric="MONOCHROME1", PresentationLUTShape="INVERSE", **window
    )
    np.testing.assert_array_equal(decode(inverse), one)


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("slope", "intercept"), [(None, None), (2.5, -1024.0)])
@pytest.mark.parametrize("signed", [False, True])
def test_windows_equal_pydicom(
    tmp_path: Path, function: str | None, slope: float | None, intercept: float | None, signed: bool
) -> None:
    pixels = smooth(1900, "i2" if signed else "u2", low=-1900 if signed else 0)
    tags: dict[str, Any] = {"WindowCenter": [500, 9], "WindowWidth": [900, 9]}
    tags |= {} if function is None else {"VOILUTFunction": function}
    tags |= {} if slope is None else {"RescaleSlope": slope, "RescaleIntercept": intercept}
    path = write_dicom(tmp_path / "a.dcm", pixels, bits_stored=12, **tags)
    data = pydicom.dcmread(path)
    shown = apply_windowing(apply_modality_lut(data.pixel_array, data), data)
    ends = apply_modality_lut(np.array([-2048, 2047] if signed else [0, 4095]), data)
    np.testing.assert_allclose(decode(path), (shown - ends[0]) / (ends[1] - ends[0]), atol=1e-6)


def test_a_negative_slope_keeps_the_order_of_the_rescaled_values(tmp_path: Path) -> None:
    pixels = smooth(4000)
    path = write_dicom(
        tmp_path / "a.dcm", pixels, bits_stored=12, RescaleSlope=-1, RescaleIntercept=4095, WindowCenter=2048,
        WindowWidth=4096,
    )  # fmt: skip
    np.testing.assert_allclose(decode(path), (4095 - pixels) / 4095, atol=1e-6)


@pytest.mark.parametrize("tags", [{}, {"WindowCenter": "", "WindowWidth": ""}, {"WindowCenter": 5, "WindowWidth": 0}])
def test_without_a_window_more_than_8_bits_stretch_and_8_bits_do_not(tmp_path: Path, tags: dict[str, Any]) -> None:
    deep, flat = smooth(3000, low=500), smooth(200, "u1", low=100)
    deep_image = decode(write_dicom(tmp_path / "12.dcm", deep, bits_stored=12, **tags))
    np.testing.assert_allclose(deep_image, (deep - 500) / 2500, atol=1e-6)
    np.testing.assert_allclose(
        decode(write_dicom(tmp_path / "8.dcm", flat, bits_stored=8, **tags)), flat / 255, atol=1e-6
    )


def test_padding_does_not_set_the_range(tmp_path: Path) -> None:
    pixels = smooth(2000, "i2", low=1000)
    pixels[:4] = -2000
    path = write_dicom(tmp_path / "a.dcm", pixels, bits_stored=16, PixelPaddingValue=-2000)
    image = decode(path)
    inner = pixels[4:]
    np.testing.assert_allclose(image[4:], (inner - inner.min()) / np.ptp(inner), atol=1e-6)
    assert (image[:4] == 0).all()


def lut(entries: int, first: int, bits: int, values: NDArray[np.integer], packed: bool) -> Dataset:
    """A LUT item with US values, or with 8-bit entries packed into OW bytes."""
    item = Dataset()
    item.LUTDescriptor = [entries % 65536, first, bits]
    item.add_new("LUTData", "OW", values.astype("u1").tobytes()) if packed else item.add_new(
        "LUTData", "US", values.tolist()
    )
    return item


@pytest.mark.parametrize(("bits", "packed"), [(8, False), (8, True), (12, False), (16, False)])
def test_voi_lut_is_looked_up_and_wins_over_the_window(tmp_path: Path, bits: int, packed: bool) -> None:
    pixels = smooth(4095)
    curve = np.rint(np.linspace(0, 1, 3000) ** 2 * (2**bits - 1)).astype(int)
    path = write_dicom(
        tmp_path / "a.dcm", pixels, bits_stored=12, WindowCenter=10, WindowWidth=10,
        VOILUTSequence=[lut(3000, 500, bits, curve, packed)],
    )  # fmt: skip
    expected = curve[np.clip(pixels.astype(int) - 500, 0, 2999)] / (2**bits - 1)
    np.testing.assert_allclose(decode(path), expected, atol=1e-6)


def test_modality_lut_comes_before_the_window(tmp_path: Path) -> None:
    pixels = smooth(255, "u1")
    curve = np.arange(256) * 16
    path = write_dicom(
        tmp_path / "a.dcm", pixels, bits_stored=8, WindowCenter=2048, WindowWidth=4096,
        ModalityLUTSequence=[lut(256, 0, 12, curve, False)],
    )  # fmt: skip
    np.testing.assert_allclose(decode(path), np.clip(pixels * 16.0 / 4095, 0, 1), atol=1e-6)


def test_colour_becomes_luma(tmp_path: Path) -> None:
    gray = smooth(255, "u1")
    pixels = np.stack([gray, gray[::-1], 255 - gray], axis=-1)
    image = decode(write_dicom(tmp_path / "a.dcm", pixels, bits_stored=8, photometric="RGB"))
    np.testing.assert_allclose(image, pixels @ np.array([0.299, 0.587, 0.114]) / 255, atol=1e-5)


def test_files_without_extension_or_meta_header(tmp_path: Path) -> None:
    pixels = smooth(255, "u1")
    path = write_dicom(tmp_path / "RG1_X", pixels, bits_stored=8)
    np.testing.assert_allclose(decode(path), pixels / 255, atol=1e-6)
    data = pydicom.dcmread(path)
    del data.file_meta.TransferSyntaxUID
    bare = tmp_path / "bare.dcm"
    data.save_as(bare, implicit_vr=True, little_endian=True, enforce_file_format=False)
    bare.write_bytes(bare.read_bytes().partition(b"DICM")[2] or bare.read_bytes())
    np.testing.assert_allclose(decode(bare), pixels / 255, atol=1e-6)


def test_too_large_is_refused_before_the_pixels_are_read(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", smooth(255, "u1"), bits_stored=8, Rows=60_000, Columns=60_000)
    with pytest.raises(BadImageError, match=r"60000 x 60000 pixels are more than the limit of 100,000,000"):
        decode(path)
    with pytest.raises(BadImageError, match="more than the limit of 10"):
        decode(write_dicom(tmp_path / "b.dcm", smooth(255, "u1"), bits_stored=8), max_pixels=10)


def test_several_frames_are_refused(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", smooth(255, "u1"), bits_stored=8, NumberOfFrames=3)
    with pytest.raises(BadImageError, match="3 frames"):
        decode(path)


@pytest.mark.parametrize("name", GDCM_SYNTAXES)
@pytest.mark.parametrize("tags", [{"Rows": 47}, {"Columns": 4100}, {"SamplesPerPixel": 3}])
def test_a_compressed_image_that_contradicts_its_header_is_refused(
    tmp_path: Path, name: str, tags: dict[str, int]
) -> None:
    path = write_dicom(tmp_path / "a.dcm", smooth(255, "u1"), bits_stored=8)
    data = pydicom.dcmread(transcode(path, tmp_path / "b.dcm", GDCM_SYNTAXES[name]))
    for tag, value in tags.items():
        setattr(data, tag, value)
    data.save_as(path)
    with pytest.raises(BadImageError, match="its compressed image has 41 x 48 pixels of 1 x 8 bits"):
        decode(path)


@pytest.mark.parametrize("name", ["plain", "rle", *GDCM_SYNTAXES])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_truncated_files_are_refused(tmp_path: Path, name: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    syntax = RLELossless if name == "rle" else ExplicitVRLittleEndian
    path = write_dicom(tmp_path / "a.dcm", noise, bits_stored=8, syntax=syntax)
    if name in GDCM_SYNTAXES:
        path = transcode(path, tmp_path / "b.dcm", GDCM_SYNTAXES[name])
    whole = path.read_bytes()
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BadImageError, match=r"broken\.dcm"):
        decode(broken)


@pytest.mark.parametrize(
    "content", [b"", b"nonsense" * 100, b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICM" + b"\xff" * 999]
)
def test_damaged_headers_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(content)
    with pytest.raises(BadImageError, match=r"a\.dcm") as caught:
        decode(path)
    assert "\n" not in str(caught.value)
