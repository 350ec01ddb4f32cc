"""RLE by Pillow's PackBits decoder against pydicom's own, on whole frames and on damaged ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.utils import pixel_array
from pydicom.uid import RLELossless

from cxrbench.data.decode import packbits
from cxrbench.data.decode.images import decode
from cxrbench.data.decode.packbits import PLUGIN
from cxrbench.errors import BadImageError
from support.dicom_files import write_dicom

RNG = np.random.default_rng(0)
IMAGES: dict[str, NDArray[Any]] = {
    "noise": RNG.integers(0, 4096, (23, 37)).astype("<u2"),
    "signed": RNG.integers(-2048, 2048, (23, 37)).astype("<i2"),
    "runs": np.repeat(RNG.integers(0, 4096, 9), 200).reshape(45, 40).astype("<u2"),
    "bytes": RNG.integers(0, 256, (23, 37)).astype("u1"),
    "colour": RNG.integers(0, 256, (23, 37, 3)).astype("u1"),
}


def written(path: Path, pixels: NDArray[Any]) -> pydicom.Dataset:
    photometric = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    bits = 12 if pixels.dtype.itemsize == 2 else 8
    data = pydicom.dcmread(write_dicom(path, pixels, bits_stored=bits, photometric=photometric))
    data.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    data.save_as(path)
    return data


def by(data: pydicom.Dataset, plugin: str) -> NDArray[Any] | None:
    """What a plugin of pydicom makes of the pixels; None if it refuses them."""
    try:
        return pixel_array(data, index=0, decoding_plugin=plugin)
    except RuntimeError:
        return None


@pytest.mark.parametrize("name", IMAGES)
def test_a_whole_frame_is_what_was_encoded(tmp_path: Path, name: str) -> None:
    found = by(written(tmp_path / "a.dcm", IMAGES[name]), PLUGIN)
    assert found is not None
    np.testing.assert_array_equal(found, IMAGES[name])


def test_runs_may_cross_rows_and_a_byte_may_mean_nothing(tmp_path: Path) -> None:
    """An encoder need not stop at a row's end; 128 says nothing (PS3.5 G.3.1)."""
    data = written(tmp_path / "a.dcm", np.zeros((3, 50), "u1"))
    segment = bytes([256 - 99, 7, 128, 128, 1, 8, 9, 256 - 47, 5])  # 100 sevens, nothing, 8 and 9, 48 fives
    data.PixelData = encapsulate([np.array([1, 64, *[0] * 14], "<u4").tobytes() + segment])
    found = by(data, PLUGIN)
    assert found is not None
    assert found.ravel().tolist() == [7] * 100 + [8, 9] + [5] * 48


@pytest.mark.parametrize("name", ["noise", "runs", "colour"])
def test_damaged_frames_are_decoded_as_by_pydicom_or_left_to_it(tmp_path: Path, name: str) -> None:
    """Whatever is accepted here is accepted there, with the same pixels."""
    data = written(tmp_path / "a.dcm", IMAGES[name])
    frame = get_frame(data.PixelData, 0, number_of_frames=1)
    rng, accepted = np.random.default_rng(1), 0
    for _ in range(60):
        broken = bytearray(frame)
        broken[rng.integers(0, 80 if rng.random() < 0.3 else len(broken))] = rng.integers(0, 256)
        data.PixelData = encapsulate([bytes(broken[: rng.integers(1, len(broken))] if rng.random() < 0.3 else broken)])
        found = by(data, PLUGIN)
        if found is not None:
            accepted += 1
            np.testing.assert_array_equal(found, by(data, "pydicom"))
    assert 0 < accepted < 60


def test_what_only_pydicom_reads_is_read(tmp_path: Path) -> None:
    """A last run that promises more than the file has is no harm where the image is whole before its end."""
    data = written(tmp_path / "a.dcm", np.zeros((3, 50), "u1"))
    data.PixelData = encapsulate([np.array([1, 64, *[0] * 14], "<u4").tobytes() + bytes([256 - 99, 7, 80, *range(51)])])
    assert by(data, PLUGIN) is None
    data.save_as(tmp_path / "b.dcm")
    np.testing.assert_array_equal(decode(tmp_path / "b.dcm").ravel() * 255, [7] * 100 + [*range(50)])


def test_too_few_pixels_are_refused(tmp_path: Path) -> None:
    data = written(tmp_path / "a.dcm", np.zeros((3, 50), "u1"))
    data.PixelData = encapsulate([np.array([1, 64, *[0] * 14], "<u4").tobytes() + bytes([256 - 99, 7])])
    data.save_as(tmp_path / "b.dcm")
    with pytest.raises(BadImageError, match="its compressed pixels are damaged"):
        decode(tmp_path / "b.dcm")


def test_images_are_decoded_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    frombytes = packbits.Image.frombytes
    monkeypatch.setattr(packbits.Image, "frombytes", lambda *all_of: (asked.append(all_of), frombytes(*all_of))[1])
    written(tmp_path / "a.dcm", IMAGES["noise"])
    decode(tmp_path / "a.dcm")
    assert len(asked) == 2  # one for each byte of 16 bits
