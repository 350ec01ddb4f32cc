"""Arrays that every encoder's cells need and none of them changes, kept in the cache folder."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrbench.errors import UserError
from cxrbench.files.npy import read_sealed_npy, write_npy


def cached_array(path: Path, compute: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
    """The array in ``path`` (.npy), or what ``compute`` gives, kept there. A damaged file is made again."""
    with suppress(FileNotFoundError, UserError):
        return read_sealed_npy(path)
    values = compute()
    write_npy(path, values)
    return values
