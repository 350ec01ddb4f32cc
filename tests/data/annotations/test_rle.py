"""Run-length encodings against a slow reading of SIIM's definition, and round trips over random masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from cxrbench.data.annotations.rle import (
    counts_to_siim,
    decode_counts,
    encode_counts,
    encode_siim,
    siim_to_counts,
    union_counts,
    unpack_counts,
)
from cxrbench.errors import UserError
from support.masks import compressed

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9))


def decode_siim(text: str, height: int, width: int) -> NDArray[np.bool_]:
    """The way that a mask takes from SIIM's file to pixels."""
    return decode_counts(siim_to_counts(text, height, width), height, width)


def pixel_by_pixel(text: str, height: int, width: int) -> NDArray[np.bool_]:
    """SIIM's rule word by word: each start counts from the end of the last run; pixels run down the columns."""
    mask = np.zeros((height, width), bool)
    position, numbers = 0, [int(word) for word in text.split()]
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        position += start
        for pixel in range(position, position + length):
            mask[pixel % height, pixel // height] = True
        position += length
    return mask


@settings(max_examples=150, deadline=None)
@given(masks)
def test_round_trips_and_the_two_forms_agree(mask: NDArray[np.bool_]) -> None:
    height, width = mask.shape
    siim, counts = encode_siim(mask), encode_counts(mask)
    np.testing.assert_array_equal(decode_siim(siim, height, width), mask)
    np.testing.assert_array_equal(decode_counts(counts, height, width), mask)
    assert siim_to_counts(siim, height, width) == counts
    assert counts_to_siim(counts) == siim
    if mask.any():
        np.testing.assert_array_equal(pixel_by_pixel(siim, height, width), mask)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=8))
def test_any_relative_rle_reads_as_defined(numbers: list[int]) -> None:
    numbers = numbers[: len(numbers) // 2 * 2] or [0, 1]
    text, height, width = " ".join(map(str, numbers)), 8, 7
    if sum(numbers) > height * width:
        with pytest.raises(UserError, match="beyond the 8 x 7 image"):
            decode_siim(text, height, width)
        return
    expected = pixel_by_pixel(text, height, width)
    np.testing.assert_array_equal(decode_siim(text, height, width), expected)
    assert siim_to_counts(text, height, width) == encode_counts(expected)


@settings(max_examples=60, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 7))))
def test_union_of_several_masks(stack: NDArray[np.bool_]) -> None:
    _, height, width = stack.shape
    assert union_counts([encode_siim(mask) for mask in stack], height, width) == encode_counts(
        np.logical_or.reduce(stack)
    )


def test_known_masks() -> None:
    mask = np.zeros((3, 4), bool)
    mask[1, 0] = mask[2, 0] = mask[0, 1] = mask[2, 3] = True
    assert encode_siim(mask) == "1 3 7 1"
    assert encode_counts(mask) == "1 3 7 1"
    assert encode_counts(~mask) == "0 1 3 7 1"
    assert encode_counts(np.zeros((3, 4), bool)) == siim_to_counts(" -1", 3, 4) == "12"
    assert encode_siim(np.zeros((3, 4), bool)) == "-1"
    assert not decode_siim("-1", 3, 4).any()


def test_counts_are_what_coco_reads() -> None:
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    mask = np.random.default_rng(0).random((13, 9)) > 0.6
    counts = [int(word) for word in encode_counts(mask).split()]
    packed = coco.frPyObjects({"size": [13, 9], "counts": counts}, 13, 9)
    np.testing.assert_array_equal(coco.decode(packed).astype(bool), mask)


@pytest.mark.parametrize("text", ["5", "1 2 3", "-2 4", "1 x", "1.5 2", "99999999999999999999 1"])
def test_malformed_rle_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        decode_siim(text, 1024, 1024)


def test_counts_of_another_image_are_refused() -> None:
    with pytest.raises(UserError, match="add up to 12, not to 3 x 5"):
        decode_counts("1 3 7 1", 3, 5)


@pytest.mark.parametrize("text", ["a 3", "1 2.5", "9" * 30 + " 1"])
def test_what_is_no_list_of_numbers_is_one_line(text: str) -> None:
    for read in (decode_counts, decode_siim):
        with pytest.raises(UserError, match="not a list of whole numbers"):
            read(text, 3, 4)


def test_run_lengths_whose_sum_wraps_around_are_refused() -> None:
    """Four times 2 ** 62 and 12 more are 12 in 64 bits: an image of 3 x 4, and memory for 2 ** 62 pixels."""
    text = " ".join([str(2**62)] * 4 + ["12", "0"])
    with pytest.raises(UserError, match="add up to 18446744073709551628, not to 3 x 4"):
        decode_counts(text, 3, 4)
    with pytest.raises(UserError, match="runs to pixel 18,446,744,073,709,551,628"):
        decode_siim(text, 3, 4)
    with pytest.raises(UserError, match="65535 x 65535 pixels is more than the limit"):
        decode_siim("3 4", 65535, 65535)


@settings(max_examples=150, deadline=None)
@given(masks)
def test_compressed_run_lengths_are_read_as_pycocotools_writes_them(mask: NDArray[np.bool_]) -> None:
    assert unpack_counts(compressed(mask), *mask.shape) == encode_counts(mask)


def test_compressed_run_lengths_of_a_large_mask_with_long_runs() -> None:
    mask = np.random.default_rng(0).random((1500, 1100)) < 0.001
    mask[:, 300:700] = True
    assert unpack_counts(compressed(mask), *mask.shape) == encode_counts(mask)
    assert unpack_counts(compressed(~mask), *mask.shape) == encode_counts(~mask)


@pytest.mark.parametrize("packed", ["", "é", "a b", "P", "~~", "`" * 30 + "0"])
def test_what_are_no_compressed_run_lengths_is_refused(packed: str) -> None:
    with pytest.raises(UserError, match=r"is no compressed run lengths|does not fill|more than 60 bits"):
        unpack_counts(packed, 5, 4)


def test_compressed_runs_of_no_pixels_are_none() -> None:
    packed = "".join(chr(48 + n) for n in (3, 2, 0, 14, 1))  # the last two are differences: 16 and 1 pixels
    assert unpack_counts(packed, 11, 2) == "3 18 1"
