"""LUTs, windows and padding that files have wrong, against the formulas of DICOM PS3.3 C.11.2 and C.7.5.1.1.2."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from cxrbench.data.decode.images import decode
from cxrbench.errors import BadImageError
from support.dicom_files import write_dicom

RAMP = np.arange(0, 4001, dtype="u2")[:4000].reshape(50, 80)  # 0 to 3999, each once
WHOLE = RAMP / 3999.0


def dicom(path: Path, pixels: NDArray[Any] = RAMP, **tags: Any) -> Path:
    return write_dicom(path / "a.dcm", pixels, bits_stored=tags.pop("bits_stored", 12), **tags)


def lut(
    first: int, values: NDArray[np.integer], *, bits: int = 12, vr: str = "US", entries: int | None = None
) -> Dataset:
    """A LUT item whose descriptor is written with the given VR, right or wrong."""
    item = Dataset()
    sign = 65536 if vr == "SS" else 0
    numbers = [(len(values) if entries is None else entries) % 65536, first % 65536, bits]
    item.add_new("LUTDescriptor", vr, [n - sign if n > 32767 and sign else n for n in numbers])
    item.add_new("LUTData", "US", values.tolist())
    return item


@pytest.mark.parametrize("bits", [0, 8, 10, 12, 16])
@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
def test_a_voi_lut_is_scaled_by_its_own_range_whatever_its_descriptor_says(
    tmp_path: Path, bits: int, photometric: str
) -> None:
    curve = np.rint(np.linspace(0, 1, 4096) ** 2 * 4095).astype(int)
    path = dicom(tmp_path, photometric=photometric, VOILUTSequence=[lut(0, curve, bits=bits)])
    expected = curve[RAMP] / 4095
    np.testing.assert_allclose(decode(path), expected if photometric == "MONOCHROME2" else 1 - expected, atol=1e-6)


def test_a_voi_lut_that_does_not_begin_at_0_does(tmp_path: Path) -> None:
    curve = np.arange(1000, 3000)
    path = dicom(tmp_path, VOILUTSequence=[lut(1000, curve)])
    np.testing.assert_allclose(decode(path), np.clip((RAMP.astype(int) - 1000) / 1999, 0, 1), atol=1e-6)


def test_a_flat_voi_lut_gives_way_to_the_window(tmp_path: Path) -> None:
    path = dicom(tmp_path, VOILUTSequence=[lut(0, np.full(4096, 7))], WindowCenter=2000, WindowWidth=4000)
    np.testing.assert_allclose(decode(path), np.clip((RAMP - 1999.5) / 3999 + 0.5, 0, 1), atol=1e-6)


def test_a_lut_without_all_of_its_entries_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadImageError, match="a LUT has 100 of its 4096 entries"):
        decode(dicom(tmp_path, VOILUTSequence=[lut(0, np.arange(100), entries=4096)]))


@pytest.mark.parametrize("vr", ["US", "SS"])
def test_the_first_value_of_a_lut_has_the_sign_of_the_values(tmp_path: Path, vr: str) -> None:
    """-500 written as 65036, and 40000 as -25536 (PS3.3 C.11.1.1.1)."""
    signed = RAMP.astype("i2") - 2000
    path = dicom(tmp_path, signed, bits_stored=16, VOILUTSequence=[lut(-500, np.arange(1001), vr=vr)])
    np.testing.assert_allclose(decode(path), np.clip((signed + 500) / 1000, 0, 1), atol=1e-6)
    high = RAMP + np.uint16(38000)
    path = dicom(tmp_path, high, bits_stored=16, VOILUTSequence=[lut(40000, np.arange(1001), vr=vr)])
    np.testing.assert_allclose(decode(path), np.clip((high.astype(int) - 40000) / 1000, 0, 1), atol=1e-6)


@pytest.mark.parametrize(
    ("center", "width"),
    [("nan", "4000"), ("2000", "nan"), ("2000", "inf"), ("2000", "-5"), ("2000", "0.9"), ("-inf", "1"), ("", "")],
)
def test_a_window_of_no_meaning_gives_way_to_the_range(tmp_path: Path, center: str, width: str) -> None:
    np.testing.assert_allclose(decode(dicom(tmp_path, WindowCenter=center, WindowWidth=width)), WHOLE, atol=1e-6)


def test_a_window_of_no_meaning_gives_way_to_the_next(tmp_path: Path) -> None:
    path = dicom(tmp_path, WindowCenter=["nan", "2000"], WindowWidth=["100", "1000"])
    np.testing.assert_allclose(decode(path), np.clip((RAMP - 1999.5) / 999 + 0.5, 0, 1), atol=1e-6)


def test_widths_below_1_are_for_exact_and_sigmoid_windows_only(tmp_path: Path) -> None:
    tags: dict[str, Any] = {
        "RescaleSlope": "0.00025",
        "RescaleIntercept": "0",
        "WindowCenter": "0.5",
        "WindowWidth": "0.5",
    }
    values = RAMP * 0.00025
    np.testing.assert_allclose(decode(dicom(tmp_path, **tags)), WHOLE, atol=1e-6)
    exact = decode(dicom(tmp_path, VOILUTFunction="LINEAR_EXACT", **tags))
    np.testing.assert_allclose(exact, np.clip((values - 0.5) / 0.5 + 0.5, 0, 1), atol=1e-6)
    sigmoid = decode(dicom(tmp_path, VOILUTFunction="SIGMOID", **tags))
    np.testing.assert_allclose(sigmoid, 1 / (1 + np.exp(-4 * (values - 0.5) / 0.5)), atol=1e-6)


def test_a_window_of_width_1_is_a_step(tmp_path: Path) -> None:
    """PS3.3 C.11.2.1.2.1: at or below center - 0.5 black, else white."""
    image = decode(dicom(tmp_path, WindowCenter="1000.5", WindowWidth="1"))
    np.testing.assert_array_equal(image, (RAMP > 1000).astype(np.float32))


def test_an_extreme_sigmoid_has_no_overflow(tmp_path: Path) -> None:
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        image = decode(dicom(tmp_path, VOILUTFunction="SIGMOID", WindowCenter="2000", WindowWidth="0.001"))
    np.testing.assert_array_equal(np.unique(image[RAMP != 2000]), [0, 1])


@pytest.mark.parametrize(
    "tags",
    [{"RescaleSlope": "nan", "RescaleIntercept": "0"}, {"RescaleSlope": "inf", "RescaleIntercept": "0"},
     {"RescaleSlope": "0", "RescaleIntercept": "0"}, {"RescaleSlope": "1", "RescaleIntercept": "nan"},
     {"ModalityLUTSequence": [lut(0, np.full(4096, 5))]}],
)  # fmt: skip
def test_a_rescaling_of_no_meaning_is_refused(tmp_path: Path, tags: dict[str, Any]) -> None:
    with pytest.raises(BadImageError, match="leave no gray values"):
        decode(dicom(tmp_path, **tags))


PADDED = np.concatenate([np.zeros((5, 80), "u2"), RAMP[10:]])
PADDED[1] = 100


def stretched(pixels: NDArray[Any], padding: NDArray[np.bool_]) -> NDArray[Any]:
    low, high = pixels[~padding].min(), pixels[~padding].max()
    return np.where(padding, 0, (pixels.astype(float) - low) / (float(high) - float(low)))


@pytest.mark.parametrize(
    "tags",
    [{"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 100}, {"PixelPaddingValue": 100, "PixelPaddingRangeLimit": 0},
     {"PixelPaddingValue": [0, 100]}],
)  # fmt: skip
@pytest.mark.parametrize("window", [False, True])
def test_padding_of_a_range_or_of_several_values_is_black_and_outside_of_the_range(
    tmp_path: Path, tags: dict[str, Any], window: bool
) -> None:
    padding = np.isin(PADDED, [0, 100]) & (np.arange(45)[:, None] < 5)
    assert not np.isin(PADDED[5:], [0, 100]).any()
    shown: dict[str, Any] = {"WindowCenter": 0, "WindowWidth": 9000} if window else {}
    image = decode(dicom(tmp_path, PADDED, **tags, **shown))
    expected = np.where(padding, 0, (PADDED + 0.5) / 8999 + 0.5) if window else stretched(PADDED, padding)
    np.testing.assert_allclose(image, expected, atol=1e-6)


def test_padding_of_monochrome1_is_black_too(tmp_path: Path) -> None:
    image = decode(dicom(tmp_path, PADDED, photometric="MONOCHROME1", PixelPaddingValue=0))
    np.testing.assert_allclose(image[PADDED > 0], 1 - stretched(PADDED, PADDED == 0)[PADDED > 0], atol=1e-6)
    assert (image[PADDED == 0] == 0).all()


@pytest.mark.parametrize("vr", ["US", "SS"])
def test_signed_padding_is_found_in_either_vr(tmp_path: Path, vr: str) -> None:
    pixels = np.concatenate([np.full((5, 80), -2000), RAMP.astype(int) - 1000]).astype("i2")
    path = dicom(tmp_path, pixels, bits_stored=16)
    data = pydicom.dcmread(path)
    data.add_new("PixelPaddingValue", vr, 63536 if vr == "US" else -2000)
    data.save_as(path)
    np.testing.assert_allclose(decode(path), stretched(pixels, pixels == -2000), atol=1e-6)


def test_an_image_that_is_padding_all_over_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadImageError, match="all of its pixels are padding"):
        decode(dicom(tmp_path, np.full((9, 9), 7, "u2"), PixelPaddingValue=7))
