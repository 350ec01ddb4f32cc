"""Arrays that every encoder's cells need and none of them changes, kept in the cache folder."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrbench.files.atomic import atomic_path


def cached_array(path: Path, compute: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
    """The array in ``path`` (.npy), or what ``compute`` gives, kept there. A damaged file is made again."""
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        values = compute()
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        np.save(handle, values)
    return values
