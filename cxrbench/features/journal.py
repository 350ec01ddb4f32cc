"""Entries of the caches: rows that are made once, however often the making is interrupted.

An entry is a folder named by its key, with one file of rows (row-major, memory-mapped on reading) and ``meta.json``
(shape, sha256, bad images, images per second). While it is being made the folder ends in ``.partial`` and a journal
says which rows are on disk with which CRC, so that making them, killed at any moment, goes on where it stopped, with
the same bits.
"""

import hashlib
import json
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import DTypeLike, NDArray

from cxrbench.errors import UserError
from cxrbench.files.atomic import disk_error, sync_folder
from cxrbench.progress import Progress

SECONDS_BETWEEN_SYNCS = 5.0
BYTES_BETWEEN_SYNCS = 64 << 20

Bad = tuple[tuple[str, str], ...]  # (path, reason) of images that cannot be read


@dataclass(frozen=True)
class Place:
    """Where an entry lies, how many rows it must have and of which type; ``file`` holds them."""

    folder: Path
    file: str
    dtype: DTypeLike
    rows: int


@dataclass(frozen=True)
class JournalRows:
    """A finished entry: rows [n, width] (NaN where the image is bad), and what is known of its making."""

    values: NDArray[Any]
    bad: Bad
    images_per_second: float
    facts: Mapping[str, Any] = field(default_factory=dict)
    from_cache: bool = True


def cached_rows(
    place: Place,
    produce: Callable[[int], Iterator[tuple[NDArray[Any], Bad]]],
    batch_size: int,
    facts: Mapping[str, Any],
    waiting: str,
    progress: Progress,
) -> JournalRows:
    """The rows of an entry, made now if they are not there.

    ``produce(n)`` yields batches of rows and their bad images from row n on; a width of 0 means a batch of bad images
    only. ``facts`` go into ``meta.json``. Two processes may ask for the same entry at once: one makes it, the other
    says ``waiting`` and waits. Raises UserError for a full disk, and whatever ``produce`` raises; what was finished
    is kept.
    """
    found = read_rows(place)
    if found is None:
        with locked(place.folder, waiting, progress):
            found = read_rows(place)
            if found is None:
                _make(place, produce, batch_size, facts, progress)
                found = read_rows(place)
                found = found and replace(found, from_cache=False)
    if found is None:
        raise UserError(f"the cache entry {place.folder} is damaged as soon as it is written: check the disk")
    return found


@contextmanager
def locked(folder: Path, message: str, progress: Progress) -> Iterator[None]:
    """Hold the lock of an entry; say so once when it has to be waited for."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_suffix(".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            progress.wait(message)
            lock.acquire()
    except OSError as error:
        raise disk_error(error, folder.parent) from error
    try:
        yield
    finally:
        lock.release()


def read_rows(place: Place) -> JournalRows | None:
    """A finished entry whose checksum fits, or None. A damaged one is deleted, so that it is made again."""
    try:
        meta: dict[str, Any] = json.loads((place.folder / "meta.json").read_text())
        data = place.folder / place.file
        with open(data, "rb") as handle:
            intact = hashlib.file_digest(handle, "sha256").hexdigest() == meta["sha256"]
        if intact and meta["rows"] == place.rows:
            values = np.memmap(data, place.dtype, "r", shape=(place.rows, meta["width"]))
            bad = tuple((path, reason) for path, reason in meta["bad"])
            return JournalRows(values, bad, meta["images_per_second"], meta)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, OSError):
        pass
    shutil.rmtree(place.folder, ignore_errors=True)
    return None


def _make(
    place: Place,
    produce: Callable[[int], Iterator[tuple[NDArray[Any], Bad]]],
    batch_size: int,
    facts: Mapping[str, Any],
    progress: Progress,
) -> None:
    """Make the rows in ``folder.partial``, going on from its journal if it has one, then rename it to ``folder``."""
    partial = place.folder.with_suffix(".partial")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        journal = Journal(partial, place.file, place.dtype, batch_size)
        done = journal.rows
        progress.start(place.rows, done)
        started = time.perf_counter()
        try:
            for values, bad in produce(done):
                journal.append(values, bad)
                progress.advance(len(values))
        except (UserError, KeyboardInterrupt):
            journal.sync()
            raise
        seconds = time.perf_counter() - started
        speed = (journal.rows - done) / seconds if journal.rows > done else float("nan")
        journal.finish(**facts, images_per_second=speed)
        os.replace(partial, place.folder)
        sync_folder(place.folder.parent)
    except OSError as error:
        raise disk_error(error, place.folder.parent) from error


class Journal:
    """Appends rows to a file and keeps, in ``journal.jsonl``, which of them are safely on disk.

    On opening, rows whose CRC does not fit (a write cut short) are dropped. Rows made with another batch size are
    dropped too: the last bits may differ.
    """

    def __init__(self, folder: Path, file: str, dtype: DTypeLike, batch_size: int) -> None:
        self.data, self.log, self.dtype = folder / file, folder / "journal.jsonl", np.dtype(dtype)
        self.batch_size, self.rows, self.width = batch_size, 0, 0
        self.bad: list[tuple[str, str]] = []
        kept, size = self._verified()
        self.log.write_text("".join(json.dumps(entry) + "\n" for entry in kept))
        with open(self.data, "ab") as handle:
            handle.truncate(size)
        self._pending: list[tuple[NDArray[Any], Bad]] = []
        self._synced, self._waiting = time.monotonic(), 0

    def _verified(self) -> tuple[list[dict[str, Any]], int]:
        kept: list[dict[str, Any]] = []
        size = 0
        if not (self.log.exists() and self.data.exists()):
            return kept, size
        with open(self.data, "rb") as handle:
            for line in self.log.read_text().splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:
                    break
                chunk = handle.read(entry["rows"] * entry["width"] * self.dtype.itemsize)
                if entry["batch_size"] != self.batch_size or zlib.crc32(chunk) != entry["crc"]:
                    break
                kept.append(entry)
                size += len(chunk)
                self.rows += entry["rows"]
                self.width = max(self.width, entry["width"])
                self.bad += [(path, reason) for path, reason in entry["bad"]]
        return kept, size

    def append(self, values: NDArray[Any], bad: Bad) -> None:
        """Take a batch; every few seconds, or megabytes, bring what has gathered to the disk."""
        self._pending.append((values, bad))
        self.rows += len(values)
        self.width = max(self.width, values.shape[1])
        self._waiting += values.nbytes
        if time.monotonic() - self._synced > SECONDS_BETWEEN_SYNCS or self._waiting > BYTES_BETWEEN_SYNCS:
            self.sync()

    def sync(self) -> None:
        """Write the pending rows, then their line in the journal: never the other way round."""
        if not self._pending or not self.width:
            return
        rows = [v if v.shape[1] else np.full((len(v), self.width), np.nan, self.dtype) for v, _ in self._pending]
        chunk = np.concatenate(rows).astype(self.dtype, copy=False)
        bad = [b for _, batch in self._pending for b in batch]
        _append(self.data, chunk.data)
        entry = {"rows": len(chunk), "width": self.width, "crc": zlib.crc32(chunk.data), "bad": bad,
                 "batch_size": self.batch_size}  # fmt: skip
        _append(self.log, (json.dumps(entry) + "\n").encode())
        self.bad += bad
        self._pending, self._synced, self._waiting = [], time.monotonic(), 0

    def finish(self, **facts: Any) -> None:
        """Bring everything to the disk and write ``meta.json``."""
        self.sync()
        if not self.width:
            raise UserError(f"not one image can be read; the first: {self._pending[0][1][0][0]}")
        with open(self.data, "rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
        meta = {"rows": self.rows, "width": self.width, "sha256": digest, "bad": self.bad, **facts}
        _append(self.log.with_name("meta.json"), json.dumps(meta).encode())
        self.log.unlink()


def _append(path: Path, content: bytes | memoryview) -> None:
    with open(path, "ab") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
