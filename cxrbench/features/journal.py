"""The journal of rows that are being made: which of them are on the disk, and as they were written.

It lies beside the file of rows in the ``.partial`` folder of a cache entry (``making.py``), so that making them, killed
at any moment, goes on where it stopped, with the same bits.
"""

import hashlib
import json
import os
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from cxrbench.errors import UserError
from cxrbench.features.entries import META, Bad
from cxrbench.files.leases import Lease
from cxrbench.files.records import write_record

SECONDS_BETWEEN_SYNCS = 5.0
BYTES_BETWEEN_SYNCS = 64 << 20


class Journal:
    """Appends rows to a file and keeps, in ``journal.jsonl``, which of them are safely on disk.

    A line is the CRC of an entry, and the entry. On opening, what comes after the first line that does not fit (cut,
    flipped, of another version), or whose rows do not, is dropped. Rows made with another batch size are dropped
    too: the last bits may differ. Nothing is written once ``lease`` is lost (LostError); what a process that was
    stopped in the midst of writing may write yet, when it wakes, does not fit and is noticed in the end.
    """

    def __init__(self, folder: Path, file: str, dtype: DTypeLike, batch_size: int, lease: Lease) -> None:
        self.data, self.log, self.dtype = folder / file, folder / "journal.jsonl", np.dtype(dtype)
        self.batch_size, self.rows, self.width = batch_size, 0, 0
        self.bad: list[tuple[str, str]] = []
        self._lease = lease
        self._written: list[tuple[int, int]] = []  # bytes and CRC of each entry
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
                self._written.append((len(chunk), entry["crc"]))
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
        self._lease.check()
        _append(self.data, chunk.data)
        entry = {"rows": len(chunk), "width": self.width, "crc": zlib.crc32(chunk.data), "bad": bad,
                 "batch_size": self.batch_size}  # fmt: skip
        _append(self.log, _line(entry))
        self.bad += bad
        self._written.append((chunk.nbytes, entry["crc"]))
        self._pending, self._synced, self._waiting = [], time.monotonic(), 0

    def finish(self, **facts: Any) -> bool:
        """Bring everything to the disk and write ``meta.json``. False if the file is not what was written to it."""
        self.sync()
        if not self.width:
            raise UserError(f"not one image can be read; the first: {self._pending[0][1][0][0]}")
        digest = self._digest()
        self._lease.check()
        if digest is None:
            return False
        meta = {"file": self.data.name, "dtype": self.dtype.str, "rows": self.rows, "width": self.width,
                "sha256": digest, "bad": self.bad}  # fmt: skip
        write_record(self.log.with_name(META), meta | facts)
        self.log.unlink()
        return True

    def _digest(self) -> str | None:
        """The sha256 of the file, or None if it holds anything but the entries of the journal."""
        digest = hashlib.sha256()
        with open(self.data, "rb") as handle:
            for size, crc in self._written:
                chunk = handle.read(size)
                if len(chunk) != size or zlib.crc32(chunk) != crc:
                    return None
                digest.update(chunk)
            return None if handle.read(1) else digest.hexdigest()


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
