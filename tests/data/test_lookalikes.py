"""Copies that are found, other pictures that are not, and linear work."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from cxrbench.data.lookalikes import Gallery, Looks, looks

Picture = NDArray[np.float32]


def picture(seed: int, height: int = 240, width: int = 192) -> Picture:
    """Smooth random structure, as a radiograph has it."""
    grain = np.random.default_rng(seed).random((height, width))
    smooth = np.asarray(gaussian_filter(grain, 12) + 0.1 * gaussian_filter(grain, 2))
    return np.asarray((smooth - smooth.min()) / np.ptp(smooth), np.float32)


def jpeg(image: Picture) -> Picture:
    stream = io.BytesIO()
    Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(stream, "JPEG", quality=60)
    return np.asarray(Image.open(stream)).astype(np.float32) / 255


def noise(shape: tuple[int, ...]) -> Picture:
    return np.random.default_rng(1).normal(0, 0.02, shape).astype(np.float32)


def half(image: Picture) -> Picture:
    size = (image.shape[1] // 2, image.shape[0] // 2)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC), np.float32).clip(0, 1)


COPIES: dict[str, Callable[[Picture], Picture]] = {
    "the same pixels": lambda image: image.copy(),
    "recompressed": jpeg,
    "half the size": half,
    "darker": lambda image: image * np.float32(0.7),
    "noisy": lambda image: (image + noise(image.shape)).clip(0, 1),
}


def gallery(images: list[Picture]) -> Gallery:
    found = Gallery(len(images))
    for row, image in enumerate(images):
        found.put(row, looks(image))
    return found


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_found_and_nothing_else(copy: str) -> None:
    images = [picture(seed) for seed in range(20)]
    images.insert(13, COPIES[copy](images[4]))
    assert gallery(images).groups() == [[4, 13]]


def test_three_copies_are_one_group_and_two_groups_are_two() -> None:
    a, b = picture(0), picture(1)
    assert gallery([a, b, half(a), picture(2), b, jpeg(a)]).groups() == [[0, 2, 5], [1, 4]]


def test_other_pictures_are_not_copies() -> None:
    """A mirror image, its negative, another crop, another aspect ratio."""
    image = picture(0)
    for other in (image[:, ::-1], 1 - image, image[60:], image[::2], np.rot90(image)):
        assert gallery([image, np.ascontiguousarray(other)]).groups() == []


def test_blank_images_are_counted_and_are_no_copies_of_each_other() -> None:
    blank = [np.full((9, 9), value, np.float32) for value in (0, 0, 0.5)]
    dark = picture(0)
    dark[:180] = 0
    white = picture(1)
    white[:60] = 1
    found = gallery([*blank, dark, white, picture(2)])
    assert found.constant().tolist() == [0, 1, 2]
    assert found.saturated().tolist() == [3, 4]
    assert found.groups() == []


def test_an_empty_gallery_and_rows_that_were_never_seen() -> None:
    assert Gallery(0).groups() == []
    found = Gallery(3)
    found.put(1, looks(picture(0)))
    assert found.groups() == []
    assert found.constant().tolist() == []


def test_pixels_of_another_shape_are_another_digest() -> None:
    image = picture(0, 60, 80)
    assert looks(image).digest == looks(image.copy()).digest
    assert looks(image).digest != looks(image.reshape(80, 60)).digest


def test_the_hash_does_not_see_brightness_and_sees_structure() -> None:
    image = picture(0)
    assert looks(image).hash == looks(image * np.float32(0.5) + np.float32(0.2)).hash
    apart = [(looks(image).hash ^ looks(picture(seed)).hash).bit_count() for seed in range(1, 30)]
    assert min(apart) > 8


def test_pairs_are_sought_among_neighbours_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """3,000 pictures of similar hashes: the comparisons grow with their number, not with its square."""
    compared = 0
    count = np.bitwise_count

    def counting(values: Any) -> Any:
        nonlocal compared
        compared += values.size
        return count(values)

    monkeypatch.setattr(np, "bitwise_count", counting)
    rng = np.random.default_rng(0)
    found = Gallery(3_000)
    for row in range(3_000):
        thumbnail = rng.integers(0, 256, (16, 16), np.uint8)
        found.put(row, Looks(rng.bytes(16), int(rng.integers(0, 1 << 20)) << 40, thumbnail, 1.0, False, False))
    assert found.groups() == []
    assert compared <= 3_000 * 16 * 16
