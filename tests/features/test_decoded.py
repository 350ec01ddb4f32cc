"""Decoded images that are kept for a run's next encoder: the same bits, without decoding."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cxrbench.data.decode.images import MAX_PIXELS, decode, use_decoded
from cxrbench.engine import execute as engine
from cxrbench.engine.job import prepare
from cxrbench.errors import BadImageError
from cxrbench.features import decoded
from cxrbench.features.decoded import DecodedImages
from cxrbench.progress import Progress


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Six images of different sizes."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.png" for i in range(6)]
    for i, path in enumerate(paths):
        Image.fromarray(rng.integers(0, 256, (20 + i, 30), np.uint8)).save(path)
    return paths


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Which files are decoded, in order."""
    found: list[Path] = []

    def noting(path: Path, use: Any, *, max_pixels: int) -> Any:
        found.append(path)
        return use_decoded(path, use, max_pixels=max_pixels)

    monkeypatch.setattr(decoded, "use_decoded", noting)
    return found


def gray(images: DecodedImages, path: Path) -> NDArray[np.float32]:
    return images.use(path, lambda image: image, max_pixels=MAX_PIXELS)


def test_the_second_time_nothing_is_decoded_and_the_bits_are_the_same(
    files: list[Path], opened: list[Path], tmp_path: Path
) -> None:
    with DecodedImages(tmp_path) as images:
        for _ in range(2):
            for path in files:
                np.testing.assert_array_equal(gray(images, path), decode(path))
    assert opened == files
    assert sorted(tmp_path.iterdir()) == files, "what is kept has no name"


def test_what_is_done_to_an_image_does_not_reach_the_next(files: list[Path], tmp_path: Path) -> None:
    with DecodedImages(tmp_path) as images:
        for _ in range(2):
            gray(images, files[0])[:] = 0
        np.testing.assert_array_equal(gray(images, files[0]), decode(files[0]))


def test_a_file_that_has_changed_is_decoded_again(files: list[Path], opened: list[Path], tmp_path: Path) -> None:
    with DecodedImages(tmp_path) as images:
        gray(images, files[0])
        Image.fromarray(np.full((9, 9), 7, np.uint8)).save(files[0])
        assert gray(images, files[0]).shape == (9, 9)
        before = os.stat(files[0])
        os.utime(files[0], ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
        gray(images, files[0])
    assert opened == [files[0]] * 3


def test_what_finds_no_room_is_decoded_each_time(files: list[Path], opened: list[Path], tmp_path: Path) -> None:
    sizes = [decode(path).nbytes for path in files]
    with DecodedImages(tmp_path, limit=sizes[0] + sizes[1]) as images:
        for path in (*files, *files):
            np.testing.assert_array_equal(gray(images, path), decode(path))
    assert opened == [*files, *files[2:]]


def test_large_images_are_not_kept(
    files: list[Path], opened: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoded, "LARGEST", decode(files[1]).nbytes)
    with DecodedImages(tmp_path) as images:
        for path in (*files, *files):
            gray(images, path)
    assert opened == [*files, *files[2:]]


def test_where_the_disk_refuses_all_goes_on(files: list[Path], opened: list[Path], tmp_path: Path) -> None:
    with DecodedImages(tmp_path / "is not there") as images:
        for path in (*files, *files):
            np.testing.assert_array_equal(gray(images, path), decode(path))
    assert opened == [*files, *files]


def test_a_kept_image_that_is_cut_is_decoded_again(files: list[Path], opened: list[Path], tmp_path: Path) -> None:
    with DecodedImages(tmp_path) as images:
        gray(images, files[0])
        vars(images)["_file"].truncate(100)
        np.testing.assert_array_equal(gray(images, files[0]), decode(files[0]))
    assert opened == [files[0]] * 2


def test_a_bad_image_is_bad_each_time(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    with DecodedImages(tmp_path) as images:
        for path in (tmp_path / "a.png", tmp_path / "b.png", tmp_path / "a.png"):
            with pytest.raises(BadImageError):
                gray(images, path)


@pytest.mark.parametrize("several", [False, True])
def test_a_run_decodes_each_image_once(
    dataset: Path, encoder: str, opened: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, several: bool
) -> None:
    """One encoder alone has no use for what is kept."""
    made: list[DecodedImages] = []
    monkeypatch.setattr(decoded, "DecodedImages", lambda folder: made.append(DecodedImages(folder)) or made[-1])
    job = prepare(
        f"pixels,{encoder}" if several else encoder, f"{dataset}:classification", dry_run=False, progress=Progress(),
        device="cpu", precision="fp32",
        results=tmp_path / "results", cache=tmp_path / "cache",
    )  # fmt: skip
    outcomes = list(job.execute(Progress()))
    assert [outcome for outcome in outcomes if not isinstance(outcome, engine.Finished)] == []
    assert len(opened) == len(set(opened)) == (120 if several else 0)
    assert len(made) == (1 if several else 0)
