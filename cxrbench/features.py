"""The feature cache: every image meets every encoder once.

An entry is a folder named by its key, with ``pooled.f32`` (row-major float32, memory-mapped on reading) and
``meta.json`` (shape, sha256, bad images, images per second). While it is being made the folder ends in ``.partial``
and a journal says which rows are on disk with which CRC, so an extraction killed at any moment goes on where it
stopped, with the same bits.
"""

import hashlib
import json
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from cxrbench.atomic import disk_error, sync_folder
from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Encoder, EncoderSpec, Preprocess
from cxrbench.errors import BadImageError, UserError
from cxrbench.extract import ExtractOptions, extract
from cxrbench.progress import Progress

# Part of the key and of every cell: change it when decoding, preprocessing, extraction or the file layout change.
FORMAT = "2"
SECONDS_BETWEEN_SYNCS = 5.0


@dataclass(frozen=True)
class PooledFeatures:
    """Embeddings [rows, D] in the manifest's row order (NaN where the image is bad), and what is known of the run."""

    pooled: NDArray[np.float32]
    bad: tuple[tuple[str, str], ...]  # (path, reason)
    images_per_second: float
    from_cache: bool


def feature_key(spec: EncoderSpec, manifest: Manifest, precision: str) -> str:
    """What the features depend on: encoder fingerprint, precision, image set, and this file's format."""
    return hashlib.sha256("|".join((FORMAT, spec.fingerprint, precision, manifest.image_set)).encode()).hexdigest()


def pooled_features(
    spec: EncoderSpec,
    load_module: Callable[[], Encoder],
    preprocess: Preprocess,
    manifest: Manifest,
    cache: Path,
    options: ExtractOptions,
    *,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> PooledFeatures:
    """The cached features of a manifest's images, extracting whatever is not there.

    Two processes may ask for the same entry at once: one extracts, the other waits. Raises BadImageError for a
    corrupt image unless ``skip_bad``, UserError for NaN features or a full disk; what was finished is kept.
    """
    progress = progress or Progress()
    key = feature_key(spec, manifest, options.precision)
    folder = cache / "features" / key[:2] / key
    found = _read(folder, len(manifest))
    if found is None:
        with _locked(folder, f"another process is extracting {spec.name} on {manifest.name}: waiting for it", progress):
            found = _read(folder, len(manifest))
            if found is None:
                _extract_to(folder, spec, load_module, preprocess, manifest, options, skip_bad, progress)
                found = _read(folder, len(manifest))
                found = found and replace(found, from_cache=False)
    if found is None:
        raise UserError(f"the feature cache entry {folder} is damaged as soon as it is written: check the disk")
    if found.bad and not skip_bad:
        raise BadImageError(*found.bad[0])
    return found


@contextmanager
def _locked(folder: Path, message: str, progress: Progress) -> Iterator[None]:
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


def _read(folder: Path, rows: int) -> PooledFeatures | None:
    """A finished entry whose checksum fits, or None. A damaged one is deleted, so that it is made again."""
    try:
        meta: dict[str, Any] = json.loads((folder / "meta.json").read_text())
        data = folder / "pooled.f32"
        with open(data, "rb") as handle:
            intact = hashlib.file_digest(handle, "sha256").hexdigest() == meta["sha256"]
        if intact and meta["rows"] == rows:
            pooled = np.memmap(data, np.float32, "r", shape=(rows, meta["width"]))
            bad = tuple((path, reason) for path, reason in meta["bad"])
            return PooledFeatures(pooled, bad, meta["images_per_second"], from_cache=True)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, OSError):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    return None


def _extract_to(
    folder: Path,
    spec: EncoderSpec,
    load_module: Callable[[], Encoder],
    preprocess: Preprocess,
    manifest: Manifest,
    options: ExtractOptions,
    skip_bad: bool,
    progress: Progress,
) -> None:
    """Extract into ``folder.partial``, going on from its journal if it has one, then rename it to ``folder``."""
    partial = folder.with_suffix(".partial")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        journal = Journal(partial, options.batch_size)
        done = journal.rows
        progress.start(len(manifest), done)
        started = time.perf_counter()
        try:
            for batch in extract(load_module, preprocess, manifest.paths(), done, options):
                if batch.bad and not skip_bad:
                    raise batch.bad[0]
                journal.append(batch.pooled, [(error.path, error.reason) for error in batch.bad])
                progress.advance(len(batch.pooled))
        except (UserError, KeyboardInterrupt):
            journal.sync()
            raise
        seconds = time.perf_counter() - started
        journal.finish(
            encoder=spec.name,
            dataset=manifest.name,
            precision=options.precision,
            images_per_second=(journal.rows - done) / seconds if journal.rows > done else float("nan"),
        )
        os.replace(partial, folder)
        sync_folder(folder.parent)
    except OSError as error:
        raise disk_error(error, folder.parent) from error


class Journal:
    """Appends rows to ``pooled.f32`` and keeps, in ``journal.jsonl``, which of them are safely on disk.

    On opening, rows whose CRC does not fit (a write cut short) are dropped. Rows made with another batch size are
    dropped too: the last bits may differ.
    """

    def __init__(self, folder: Path, batch_size: int) -> None:
        self.data, self.log = folder / "pooled.f32", folder / "journal.jsonl"
        self.batch_size, self.rows, self.width = batch_size, 0, 0
        self.bad: list[tuple[str, str]] = []
        kept, size = self._verified()
        self.log.write_text("".join(json.dumps(entry) + "\n" for entry in kept))
        with open(self.data, "ab") as handle:
            handle.truncate(size)
        self._pending: list[tuple[NDArray[np.float32], list[tuple[str, str]]]] = []
        self._synced = time.monotonic()

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
                chunk = handle.read(entry["rows"] * entry["width"] * 4)
                if entry["batch_size"] != self.batch_size or zlib.crc32(chunk) != entry["crc"]:
                    break
                kept.append(entry)
                size += len(chunk)
                self.rows += entry["rows"]
                self.width = max(self.width, entry["width"])
                self.bad += [(path, reason) for path, reason in entry["bad"]]
        return kept, size

    def append(self, pooled: NDArray[np.float32], bad: list[tuple[str, str]]) -> None:
        """Take a batch; every few seconds bring what has gathered to the disk."""
        self._pending.append((pooled, bad))
        self.rows += len(pooled)
        self.width = max(self.width, pooled.shape[1])
        if time.monotonic() - self._synced > SECONDS_BETWEEN_SYNCS:
            self.sync()

    def sync(self) -> None:
        """Write the pending rows, then their line in the journal: never the other way round."""
        if not self._pending or not self.width:
            return
        rows = [p if p.shape[1] else np.full((len(p), self.width), np.nan, np.float32) for p, _ in self._pending]
        chunk = np.concatenate(rows).tobytes()
        bad = [b for _, batch in self._pending for b in batch]
        _append(self.data, chunk)
        entry = {"rows": sum(map(len, rows)), "width": self.width, "crc": zlib.crc32(chunk), "bad": bad,
                 "batch_size": self.batch_size}  # fmt: skip
        _append(self.log, (json.dumps(entry) + "\n").encode())
        self.bad += bad
        self._pending, self._synced = [], time.monotonic()

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


def _append(path: Path, content: bytes) -> None:
    with open(path, "ab") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
