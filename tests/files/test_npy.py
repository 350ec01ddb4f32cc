"""Arrays of others: what their header says is not believed before the file is long enough for it."""

import struct
from pathlib import Path

import numpy as np
import pytest

from cxrbench.errors import UserError
from cxrbench.features.array_cache import cached_array
from cxrbench.files.npy import read_npy


def forged(path: Path, shape: str, descr: str = "'<f4'") -> Path:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(16))
    return path


def test_what_numpy_writes_is_read(tmp_path: Path) -> None:
    for number, array in enumerate(
        [np.arange(6).reshape(2, 3), np.asfortranarray(np.ones((2, 3))), np.float32(3), np.zeros((0, 4))]
    ):
        np.save(tmp_path / f"{number}.npy", array)
        found = read_npy(tmp_path / f"{number}.npy")
        assert found.dtype == np.asarray(array).dtype
        assert np.array_equal(found, array)


@pytest.mark.parametrize(
    ("shape", "descr", "said"),
    [
        ("(1000000, 1000000)", "'<f4'", "too short for the shape"),
        ("(-1,)", "'<f4'", "too short for the shape"),
        (f"({'9' * 60},)", "'<f4'", "too short for the shape"),
        ("(0, 1000000000000000000000)", "'<f4'", "not a whole"),
        ("(True,)", "'<f4'", "not a whole"),
        ("(1,)", "'|V100000000000'", "not a whole"),
        ("(2,)", "'|O'", "Python objects"),
        ("(" * 300 + ")" * 300, "'<f4'", "not a whole"),
    ],
)
def test_a_header_that_lies_is_one_short_line(tmp_path: Path, shape: str, descr: str, said: str) -> None:
    with pytest.raises(UserError, match=f"x.npy .*{said}") as error:
        read_npy(forged(tmp_path / "x.npy", shape, descr))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_a_cached_array_that_is_damaged_or_of_another_version_is_computed_again(tmp_path: Path) -> None:
    path, calls = tmp_path / "a" / "x.npy", []

    def compute() -> np.ndarray:
        calls.append(1)
        return np.arange(6, dtype=np.float32)

    for _ in range(2):
        assert cached_array(path, compute).tolist() == list(range(6))
    assert len(calls) == 1
    content = bytearray(path.read_bytes())
    content[130] ^= 1
    path.write_bytes(content)
    assert cached_array(path, compute).tolist() == list(range(6))
    np.save(path, np.zeros(6))
    assert cached_array(path, compute).tolist() == list(range(6))
    assert len(calls) == 3
