"""Decoded images of one run, kept for its next encoder: a small image takes longer to decode than to be read again."""

import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.decode.images import Used, use_decoded
from cxrbench.data.decode.room import ROOM

LIMIT = 2 << 30
"""Bytes of disk that the images of a run may take."""
LARGEST = 1 << 20
"""Bytes of an image that is kept: 512 x 512 pixels. Of larger ones few would fit, and decoders are fast on them."""


class _Key(NamedTuple):
    """A file as it was when it was decoded."""

    path: Path
    size: int
    changed: int


class _Kept(NamedTuple):
    """Where an image lies."""

    start: int
    shape: tuple[int, ...]


class DecodedImages:
    """Gray images as ``use_decoded`` gives them, in a file that has no name and ends with the process.

    Those that come first are kept until ``limit`` is reached, or the disk refuses; the others are decoded each time, as
    are bad images. A context: the file is gone at its end. Threads may share it.
    """

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        self._folder, self._limit, self._used = folder, limit, 0
        self._kept: dict[_Key, _Kept] = {}
        self._file: BinaryIO | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> "DecodedImages":
        """The images, none so far."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Forget all images."""
        with self._lock:
            self._kept, self._limit = {}, 0
            if self._file is not None:
                self._file.close()

    def use(self, path: Path, use: Callable[[NDArray[np.float32]], Used], *, max_pixels: int) -> Used:
        """``use_decoded``, by whatever is kept. Raises BadImageError."""
        key = _key(path)
        kept = self._kept.get(key) if key is not None else None
        if kept is not None:
            with ROOM.reserved(4 * int(np.prod(kept.shape))):
                image = self._read(kept)
                if image is not None:
                    return use(image)

        def keep_and_use(image: NDArray[np.float32]) -> Used:
            if key is not None and kept is None and image.nbytes <= LARGEST:
                self._keep(key, image)
            return use(image)

        return use_decoded(path, keep_and_use, max_pixels=max_pixels)

    def _read(self, kept: _Kept) -> NDArray[np.float32] | None:
        """A kept image, or None where it cannot be read."""
        image = np.empty(kept.shape, np.float32)
        try:
            with self._lock:
                assert self._file is not None
                self._file.seek(kept.start)
                whole = self._file.readinto(image.data) == image.nbytes  # type: ignore[attr-defined]
        except OSError:
            return None
        return image if whole else None

    def _keep(self, key: _Key, image: NDArray[np.float32]) -> None:
        """Keep an image if there is room; where the disk refuses, this and all later ones are not kept."""
        with self._lock:
            if self._used + image.nbytes > self._limit:
                return
            try:
                if self._file is None:
                    self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115
                self._file.seek(self._used)
                if self._file.write(np.ascontiguousarray(image).data) != image.nbytes:
                    raise OSError
            except OSError:
                self._limit = 0
                return
            self._kept[key] = _Kept(self._used, image.shape)
            self._used += image.nbytes


def _key(path: Path) -> _Key | None:
    """The file of an image; None for what is no file of its own, as a row of an array."""
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return _Key(path, facts.st_size, facts.st_mtime_ns)
