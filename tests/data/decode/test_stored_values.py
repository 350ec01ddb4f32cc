"""Pixel data that is longer, wider or more than its header says."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID, ExplicitVRLittleEndian, RLELossless

from cxrbench.data.decode.images import decode, image_size
from cxrbench.errors import BadImageError
from support.dicom_files import GDCM_SYNTAXES, UNCOMPRESSED, transcode, write_dicom

RAMP = np.arange(32 * 40, dtype="u2").reshape(32, 40) * 3  # 0 to 3837: 12 bits
SHOWN = RAMP / 3837.0
LOSSLESS = ["jpeg_lossless", "jpeg_lossless_sv1", "jpeg_ls", "jpeg2000_lossless"]


def with_pixels(path: Path, content: bytes, **tags: Any) -> Path:
    data = pydicom.dcmread(path)
    data.PixelData = content
    for name, value in tags.items():
        setattr(data, name, value)
    data.save_as(path)
    return path


@pytest.mark.parametrize("frames", [2, 3, 40])
@pytest.mark.parametrize("tags", [{}, {"NumberOfFrames": 1}])
@pytest.mark.parametrize("colour", [False, True])
def test_pixels_of_several_frames_in_a_file_of_one_are_refused(
    tmp_path: Path, frames: int, tags: dict[str, int], colour: bool
) -> None:
    pixels: NDArray[Any] = np.dstack([RAMP % 251] * 3).astype("u1") if colour else RAMP
    photometric = "RGB" if colour else "MONOCHROME2"
    path = write_dicom(tmp_path / "a.dcm", pixels, bits_stored=8 if colour else 12, photometric=photometric, **tags)
    with_pixels(path, pixels.tobytes() * frames)
    with pytest.raises(BadImageError, match=f"its pixel data is enough for {frames} frames, its header promises one"):
        decode(path)


@pytest.mark.parametrize("syntax", UNCOMPRESSED, ids=lambda syntax: syntax.keyword)
def test_what_follows_a_frame_without_being_one_is_left_out(tmp_path: Path, syntax: UID) -> None:
    path = write_dicom(tmp_path / "a.dcm", RAMP, bits_stored=12, syntax=syntax)
    data = pydicom.dcmread(path)
    with_pixels(path, data.PixelData + b"\7" * 1000)
    np.testing.assert_allclose(decode(path), SHOWN, atol=1e-6)


@pytest.mark.parametrize("name", ["rle", *GDCM_SYNTAXES])
def test_compressed_pixels_of_several_frames_are_refused(tmp_path: Path, name: str) -> None:
    gray = (RAMP >> 4).astype("u1")
    path = write_dicom(
        tmp_path / "a.dcm", gray, bits_stored=8, syntax=RLELossless if name == "rle" else ExplicitVRLittleEndian
    )
    if name != "rle":
        path = transcode(path, tmp_path / "b.dcm", GDCM_SYNTAXES[name])
    frame = next(generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1))
    with_pixels(path, encapsulate([frame, frame]))
    with pytest.raises(BadImageError, match="its pixel data has 2 frames, its header promises one"):
        decode(path)


@pytest.mark.parametrize("name", LOSSLESS)
def test_one_frame_may_be_cut_into_fragments(tmp_path: Path, name: str) -> None:
    plain = write_dicom(tmp_path / "a.dcm", RAMP, bits_stored=12)
    path = transcode(plain, tmp_path / "b.dcm", GDCM_SYNTAXES[name])
    frame = next(generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1))
    with_pixels(path, encapsulate([frame], fragments_per_frame=3))
    np.testing.assert_allclose(decode(path), SHOWN, atol=1e-6)


@pytest.mark.parametrize("name", ["plain", "rle", *LOSSLESS])
@pytest.mark.parametrize("signed", [False, True])
def test_bits_above_bits_stored_are_left_out(tmp_path: Path, name: str, signed: bool) -> None:
    """PS3.5 8.1.1: what is there is not part of the value. Here the odd columns have an overlay in them."""
    values = RAMP.astype(int) - (2048 if signed else 0)
    junk = (values & 0xFFF).astype("u2")
    junk[:, 1::2] |= 0xA000
    path = write_dicom(tmp_path / "a.dcm", junk.view("i2") if signed else junk, bits_stored=16)
    if name in GDCM_SYNTAXES:
        path = transcode(path, tmp_path / "b.dcm", GDCM_SYNTAXES[name])
    data = pydicom.dcmread(path)
    if name == "rle":
        data.compress(RLELossless, generate_instance_uid=False)
    data.BitsStored, data.HighBit = 12, 11
    data.save_as(path)
    np.testing.assert_allclose(decode(path), (values - values.min()) / np.ptp(values), atol=1e-6)


def test_values_below_the_high_bit_are_shifted_and_others_are_not(tmp_path: Path) -> None:
    """HighBit 15 of 12 bits: where the low bits are empty it is meant; where the high ones are, the tag is wrong."""
    for pixels in (RAMP << 4, RAMP):
        path = write_dicom(tmp_path / "a.dcm", pixels, bits_stored=12, HighBit=15)
        np.testing.assert_allclose(decode(path), SHOWN, atol=1e-6)
    path = write_dicom(tmp_path / "a.dcm", (RAMP << 4) | 1, bits_stored=12, HighBit=15)
    with pytest.raises(BadImageError, match="HighBit does not fit"):
        decode(path)


def test_rle_that_no_encoder_would_write_is_refused(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", RAMP, bits_stored=12, syntax=RLELossless)
    frame = next(generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1))
    with_pixels(path, encapsulate([frame + b"\x81\0" * 5000]))
    with pytest.raises(BadImageError, match="bytes of RLE are too many"):
        decode(path)


def test_the_size_in_the_header_is_the_size_of_the_image(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", RAMP, bits_stored=12)
    assert image_size(path) == decode(path).shape == (32, 40)
