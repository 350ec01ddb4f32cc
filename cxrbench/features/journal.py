"""Entries of the caches: rows that are made once, however often the making is interrupted.

An entry is a folder named by its key, with one file of rows (row-major, memory-mapped on reading) and ``meta.json``
(shape, sha256 of the rows, bad images, images per second; sealed itself). While it is being made the folder ends in
``.partial`` and a journal says which rows are on disk with which CRC, so that making them, killed at any moment, goes
on where it stopped, with the same bits. A finished entry is read without a lock and without writing anything.
"""

import json
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import DTypeLike, NDArray

from cxrbench.errors import UserError
from cxrbench.features.entries import META, Bad, JournalRows, Place, damage_of, intact_rows
from cxrbench.files.atomic import ReadOnlyError, sync_folder, writing
from cxrbench.files.digests import file_sha256
from cxrbench.files.records import write_record
from cxrbench.progress import Progress

SECONDS_BETWEEN_SYNCS = 5.0
BYTES_BETWEEN_SYNCS = 64 << 20


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
    found = intact_rows(place)
    if found is None:
        with _lock_to_make(place, waiting, progress):
            found = intact_rows(place)
            if found is None:
                if place.folder.exists():
                    progress.note(f"{damage_of(place)}: it is made again")
                    _remove(place.folder)
                _make(place, produce, batch_size, facts, progress)
                found = intact_rows(place)
                found = found and replace(found, from_cache=False)
    if found is None:
        raise UserError(f"the cache entry {place.folder} is damaged as soon as it is written: check the disk")
    return found


@contextmanager
def locked(folder: Path, message: str, progress: Progress) -> Iterator[None]:
    """Hold the lock of an entry; say so once when it has to be waited for. Raises UserError where none can be made."""
    with writing(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_suffix(".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            progress.wait(message)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _lock_to_make(place: Place, waiting: str, progress: Progress) -> Iterator[None]:
    """As ``locked``; where an entry is damaged and the folder read-only, the message says both."""
    there = place.folder.exists()
    try:
        with locked(place.folder, waiting, progress):
            yield
    except ReadOnlyError as error:
        if there and place.folder.exists():
            raise UserError(f"{damage_of(place)}, and it cannot be made again: {error}") from error
        raise


def _remove(folder: Path) -> None:
    """Delete a folder of ours. Raises UserError if it cannot be deleted."""
    with writing(folder.parent):
        folder.unlink() if folder.is_file() else shutil.rmtree(folder)


def _make(
    place: Place,
    produce: Callable[[int], Iterator[tuple[NDArray[Any], Bad]]],
    batch_size: int,
    facts: Mapping[str, Any],
    progress: Progress,
) -> None:
    """Make the rows in ``folder.partial``, going on from its journal if it has one, then rename it to ``folder``."""
    partial = place.folder.with_suffix(".partial")
    with writing(place.folder.parent):
        if not _finished(replace(place, folder=partial)):
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


def _finished(partial: Place) -> bool:
    """Whether whoever made a partial entry was killed just before its last step, the renaming. If not, rows go on."""
    if intact_rows(partial) is not None:
        return True
    (partial.folder / META).unlink(missing_ok=True)
    return False


class Journal:
    """Appends rows to a file and keeps, in ``journal.jsonl``, which of them are safely on disk.

    A line is the CRC of an entry, and the entry. On opening, what comes after the first line that does not fit (cut,
    flipped, of another version), or whose rows do not, is dropped. Rows made with another batch size are dropped
    too: the last bits may differ.
    """

    def __init__(self, folder: Path, file: str, dtype: DTypeLike, batch_size: int) -> None:
        self.data, self.log, self.dtype = folder / file, folder / "journal.jsonl", np.dtype(dtype)
        self.batch_size, self.rows, self.width = batch_size, 0, 0
        self.bad: list[tuple[str, str]] = []
        kept, size = self._verified()
        self.log.write_bytes(b"".join(kept))
        with open(self.data, "ab") as handle:
            handle.truncate(size)
        self._pending: list[tuple[NDArray[Any], Bad]] = []
        self._synced, self._waiting = time.monotonic(), 0

    def _verified(self) -> tuple[list[bytes], int]:
        """The journal's lines that hold, and how many bytes of rows they stand for."""
        kept: list[bytes] = []
        size = 0
        if not (self.log.exists() and self.data.exists()):
            return kept, size
        with open(self.data, "rb") as handle:
            for line in self.log.read_bytes().splitlines(keepends=True):
                entry = _entry(line)
                if entry is None or entry["batch_size"] != self.batch_size:
                    break
                chunk = handle.read(entry["rows"] * entry["width"] * self.dtype.itemsize)
                if zlib.crc32(chunk) != entry["crc"]:
                    break
                kept.append(line)
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
        _append(self.log, _line(entry))
        self.bad += bad
        self._pending, self._synced, self._waiting = [], time.monotonic(), 0

    def finish(self, **facts: Any) -> None:
        """Bring everything to the disk and write ``meta.json``."""
        self.sync()
        if not self.width:
            raise UserError(f"not one image can be read; the first: {self._pending[0][1][0][0]}")
        meta = {"file": self.data.name, "dtype": self.dtype.str, "rows": self.rows, "width": self.width,
                "sha256": file_sha256(self.data), "bad": self.bad}  # fmt: skip
        write_record(self.log.with_name(META), meta | facts)
        self.log.unlink()


def _line(entry: Mapping[str, Any]) -> bytes:
    """An entry as the journal keeps it."""
    text = json.dumps(entry).encode()
    return f"{zlib.crc32(text):08x} ".encode() + text + b"\n"


def _entry(line: bytes) -> dict[str, Any] | None:
    """The entry of a whole line of ours, or None."""
    crc, _, text = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or crc != f"{zlib.crc32(text):08x}".encode():
        return None
    try:
        entry = json.loads(text)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and entry.keys() == {"rows", "width", "crc", "bad", "batch_size"} else None


def _append(path: Path, content: bytes | memoryview) -> None:
    with open(path, "ab") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
