"""Rows of a user's NumPy arrays as images: what is white, what is gray, and what is no image."""

from pathlib import Path

import numpy as np
import pytest

from cxrbench.data.custom.dataset import read_csv
from cxrbench.data.decode.images import decode, image_size
from cxrbench.data.kept import Origin, read_kept
from cxrbench.errors import BadImageError, UserError
from support.layouts import text


def arrays(root: Path, values: np.ndarray, labels: str = "01") -> Path:
    np.save(root / "all.npy", values)
    rows = [f"all.npy#{n},{labels[n % len(labels)]}" for n in range(len(values))]
    text(root / "own.csv", "image,effusion", *rows)
    return root / "own.csv"


def test_rows_of_arrays_are_images(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (4, 5, 7), np.uint8)
    manifest = read_csv(arrays(tmp_path, values))
    assert manifest.labels == ("effusion",)
    for path, image in zip(manifest.paths(), values, strict=True):
        assert image_size(path) == (5, 7)
        np.testing.assert_array_equal(decode(path), image.astype(np.float32) / np.float32(255))
    assert 35 <= manifest.images["bytes"].iloc[0] < 35 + 128  # a row, and its part of the header


def test_a_changed_row_changes_the_dataset(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (4, 5, 7), np.uint8)
    path = arrays(tmp_path, values)
    origin = Origin(tmp_path, lambda: read_csv(path), table=path)
    before = read_kept(origin, tmp_path / "kept")
    assert before.fingerprint == read_kept(origin, tmp_path / "kept").fingerprint
    values[2] = 255 - values[2]
    np.save(tmp_path / "all.npy", values)
    after = read_kept(origin, tmp_path / "kept")
    assert [a == b for a, b in zip(before.images["stamp"], after.images["stamp"], strict=True)] == [1, 1, 0, 1]


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        (np.array([[0, 1000], [4000, 4095]], np.uint16), 4095),
        (np.array([[0, 1000], [4000, 65535]], np.uint16)[None], 65535),
        (np.array([[0, 0.25], [0.5, 1]], np.float64)[..., None], 1),
        (np.array([[0, 1], [1, 0]], bool), 1),
    ],
)
def test_every_kind_of_number_has_its_white(values: np.ndarray, scale: float, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", values[None])
    found = decode(tmp_path / "x.npy#0")
    np.testing.assert_allclose(found, values.reshape(2, 2).astype(np.float64) / scale, rtol=1e-6)


def test_gray_in_three_channels_is_gray_and_not_normalised(tmp_path: Path) -> None:
    gray = np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)
    normalised = (gray - np.array([0.485, 0.456, 0.406])[:, None, None]) / np.array([0.229, 0.224, 0.225])[
        :, None, None
    ]
    for name, values in (("a", np.stack([gray] * 3)), ("b", normalised.astype(np.float32))):
        np.save(tmp_path / f"{name}.npy", values[None])
        np.testing.assert_allclose(decode(tmp_path / f"{name}.npy#0"), gray, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[0, 300.0]]), "values go from 0 to 300: scale floats"),
        (np.array([[0, 300]]), "a row is of int64"),
        (np.array([[[0.0, 1.0]], [[0.0, 0.5]], [[1.0, 0.2]]]), "its 3 channels differ in more than ImageNet's"),
        (np.array([[[0.0, 1.0]], [[0.0, np.nan]], [[0.0, 1.0]]]), "its 3 channels differ in more than ImageNet's"),
        (np.array([0.0, 1.0]), "not an image"),
        (np.zeros((4, 5, 6)), "not an image"),
    ],
)
def test_rows_that_are_no_images(values: np.ndarray, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", values[None])
    with pytest.raises(BadImageError, match=message):
        decode(tmp_path / "x.npy#0")
    with pytest.raises(BadImageError, match=r"name a row of it, as in x\.npy#0"):
        decode(tmp_path / "x.npy")


@pytest.mark.parametrize(
    ("row", "message"),
    [("9", "all.npy has 4 rows, called all.npy#0 to #3"), ("01", "has 4 rows"), ("last", "has 4 rows")],
)
def test_rows_that_are_not_there(row: str, message: str, tmp_path: Path) -> None:
    path = arrays(tmp_path, np.zeros((4, 5, 7), np.uint8))
    path.write_text(path.read_text().replace("#3", f"#{row}"))
    with pytest.raises(UserError, match=message):
        read_csv(path)
