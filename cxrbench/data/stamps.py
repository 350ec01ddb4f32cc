"""What a file holds, from a few kilobytes of it: a stamp that tells one content from another of the same size.

A stamp is made of a file's size and of three blocks of it, so that an image that was replaced is noticed without
reading all of it. The time of its last change is no part of it (a copied folder is the same data); it only
says whether a stamp that is known has to be made again.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.decode.arrays import array_row, read_row
from cxrbench.data.manifest import Manifest
from cxrbench.errors import BadImageError
from cxrbench.files.digests import sampled_digest

BLOCKS, BLOCK = 3, 4096
THREADS = 8  # files may lie on a network file system, where waiting is most of the work
BATCH = 2000  # files: what a thread does at once
GONE = (-1, -1)

T = TypeVar("T")
Seen = tuple[int, int]
"""Size and time of last change (ns) of a file or folder; ``GONE`` for one that is not there."""
Known = Mapping[str, tuple[Seen, str]]
"""By path below a dataset's root (or absolute): what was seen of a file, and its stamp."""


def look(root: Path, paths: Sequence[str]) -> NDArray[np.int64]:
    """Size and time of last change of each path [paths, 2], below ``root`` unless it is absolute."""

    def some_of(batch: Sequence[str]) -> NDArray[np.int64]:
        return np.array([_seen(path, folder) for path in batch], np.int64).reshape(-1, 2)

    try:
        folder = os.open(root, os.O_RDONLY)
    except OSError:
        return np.full((len(paths), 2), GONE, np.int64)
    try:
        return np.concatenate(_in_batches(some_of, paths))
    finally:
        os.close(folder)


def file_of(path: str) -> str:
    """The file that a path of a manifest leads to: ``x.npy`` of ``x.npy#17``."""
    return path.rpartition("#")[0] if ".npy#" in path else path


def content_stamp(path: Path) -> str:
    """Hex digest of a file's size and of its first, middle and last 4 KiB; "" where it cannot be read.

    ``FILE.npy#17`` is row 17 of an array: the stamp is of that row alone.
    """
    try:
        if row := array_row(path):
            values = np.ascontiguousarray(read_row(row)).reshape(-1).view(np.uint8)
            return _sampled(values.nbytes, lambda offset, count: values[offset : offset + count].tobytes())
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            return _sampled(size, lambda offset, count: os.pread(file.fileno(), count, offset))
    except (OSError, ValueError, BadImageError):
        return ""  # whoever decodes it says why


def with_stamps(manifest: Manifest, known: Known) -> Manifest:
    """The manifest with the stamps of its images and mask files as they are on the disk now.

    ``known``: what does not have to be read again, where size and time are still the same.
    """
    paths = manifest.images["path"].tolist()
    images = manifest.images.assign(stamp=_stamps(manifest.root, paths, known))
    masks = manifest.masks
    if masks is not None and "path" in masks:
        named = sorted({path for path in masks["path"] if isinstance(path, str) and path})
        of_mask = dict(zip(named, _stamps(manifest.root, named, known), strict=True))
        masks = masks.assign(stamp=[of_mask.get(path, "") for path in masks["path"]])
    return replace(manifest, images=images, masks=masks)


def _stamps(root: Path, paths: Sequence[str], known: Known) -> list[str]:
    seen = map(tuple, look(root, [file_of(path) for path in paths]).tolist())
    stamps = dict.fromkeys(paths, "")
    todo = []
    for path, now in zip(paths, seen, strict=True):
        before, stamp = known.get(path, (GONE, ""))
        stamps[path] = stamp if now == before else ""
        if not stamps[path]:
            todo.append(path)
    made = _in_batches(lambda batch: [content_stamp(root / path) for path in batch], todo)
    stamps.update(zip(todo, chain.from_iterable(made), strict=True))
    return [stamps[path] for path in paths]


def _seen(path: str, folder: int) -> Seen:
    try:
        facts = os.stat(path, dir_fd=folder)
    except (OSError, ValueError):
        return GONE
    return facts.st_size, facts.st_mtime_ns


def _sampled(size: int, read: Callable[[int, int], bytes]) -> str:
    return sampled_digest(size, read, blocks=BLOCKS, block=BLOCK)


def _in_batches(work: Callable[[Sequence[str]], T], items: Sequence[str]) -> list[T]:
    """What ``work`` makes of each batch of the items, in order; several at once where there are many."""
    if len(items) <= BATCH:
        return [work(items)]
    batches = [items[start : start + BATCH] for start in range(0, len(items), BATCH)]
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, batches))
