"""Arrays in ``.npy`` files: those of others read without trusting what they say, our own with a checksum."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrbench.errors import UserError
from cxrbench.files.atomic import atomic_path
from cxrbench.files.seal import BLANK, check, seal

LARGEST_HEADER = 10_000  # bytes: numpy's own limit


def read_npy(path: Path) -> NDArray[Any]:
    """The array in a file. Raises UserError for what is no plain array or says that it has more than the file holds."""
    try:
        with open(path, "rb") as handle:
            version = np.lib.format.read_magic(handle)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(handle, max_header_size=LARGEST_HEADER)
            has = os.fstat(handle.fileno()).st_size - handle.tell()
            said = dtype.itemsize
            for side in shape:
                said *= side
            if dtype.hasobject:
                raise UserError(f"{path} holds Python objects, not numbers: save the array with a number's dtype")
            if said > has or min(shape, default=0) < 0:
                raise UserError(f"{path} says that it holds {said:,} bytes of {shape} numbers, and has {has:,}: cut?")
            handle.seek(0)
            return np.lib.format.read_array(handle, allow_pickle=False, max_header_size=LARGEST_HEADER)
    except (ValueError, EOFError, SyntaxError, RecursionError, MemoryError) as error:
        raise UserError(f"{path} is not a whole .npy file ({' '.join(str(error).split())[:160]})") from error


def write_npy(path: Path, values: NDArray[Any]) -> None:
    """Keep an array with a checksum behind its numbers, which numpy's own reader passes over."""
    with atomic_path(path) as temporary:
        with open(temporary, "wb") as handle:
            np.save(handle, values, allow_pickle=False)
            handle.write(BLANK.encode())
        seal(temporary)


def read_sealed_npy(path: Path) -> NDArray[Any]:
    """What ``write_npy`` kept. Raises DamagedError if it is anything else, OSError if it cannot be read."""
    check(path)
    return read_npy(path)
