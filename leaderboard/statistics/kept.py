"""Evaluations that were made before: what a board needs of an encoder on a test set, kept by what it was made of.

A file per test set (its images, patients, targets and metrics, and the code and libraries that evaluate it), with
entries by the content of predictions: the values of a cell as it is, and the variances of an encoder against a baseline
with the headlines' replicates. A new encoder is paired with others by these; of a small test set (``LEAST``) they are
sooner drawn than read, so what is kept is the first metric's, and the variances of all pairs in place of the rest. What
is not there, damaged, or of anything else is made anew: a cache is never a reason to fail, and never changes a number.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cxrbench import metrics
from cxrbench.errors import UserError
from cxrbench.files.atomic import is_temporary
from cxrbench.files.seal import check
from cxrbench.files.tables import write_sealed_table
from cxrbench.leaderboard.statistics.alignment import TestSet
from cxrbench.metrics.prepared import Array

MOST_OF_TEST_SET, MOST = 256 << 20, 2 << 30  # bytes of a file, and of all of them: the oldest go
LEAST = 1_000  # targets of a test set: of fewer, replicates are sooner drawn than read
ABANDONED = 24 * 3600.0  # seconds after which nobody is still writing a temporary file
ADVICE = "it is made anew"


def _quiet(message: str) -> None:
    """For who wants no notes."""


@dataclass
class Entries:
    """What is kept of one test set: by key plain facts and an array (of the headlines' replicates; else empty)."""

    path: Path | None
    found: dict[str, tuple[Any, Array]] = field(default_factory=dict)
    new: dict[str, tuple[Any, Array]] = field(default_factory=dict)

    def get(self, key: str) -> tuple[Any, Array] | None:
        """An entry, or None."""
        return self.new.get(key) or self.found.get(key)

    def add(self, key: str, facts: Any, array: Array) -> None:
        """Keep an entry, once ``Evaluations.save`` is called."""
        if self.path is not None:
            self.new[key] = facts, array


@dataclass
class Evaluations:
    """A folder of kept evaluations; None: nothing is kept. ``note`` is told, once each, what is wrong with files."""

    folder: Path | None
    note: Callable[[str], None] = _quiet
    _told: set[str] = field(default_factory=set)

    def of(self, tests: TestSet, measures: Iterable[str]) -> Entries:
        """What is kept of a test set and these metrics; nothing if it cannot be read."""
        if self.folder is None:
            return Entries(None)
        path = self.folder / f"{_digest(tests, measures)}.parquet"
        try:
            check(path, ADVICE)
            table = pq.read_table(path)
            columns = (table[name].to_pylist() for name in ("key", "facts", "array"))
            found = {key: (json.loads(facts), _array(data)) for key, facts, data in zip(*columns, strict=True)}
        except FileNotFoundError:
            return Entries(path)
        except (UserError, OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
            if not isinstance(error.__cause__, OSError):  # a folder that cannot be read: writing will tell
                self._say(str(error) if isinstance(error, UserError) else f"{path} holds no evaluations: {ADVICE}")
            return Entries(path)
        with suppress(OSError):  # of another user, or on a disk that may only be read: it is used all the same
            os.utime(path)
        return Entries(path, found)

    def save(self, entries: Entries) -> None:
        """Write what is new, beside what was there: as much as there is room for."""
        if self.folder is None or entries.path is None or not entries.new:
            return
        rows, size = [], 0
        for key, (facts, array) in ({**entries.new, **entries.found} | entries.new).items():
            text, data = json.dumps(facts), np.asarray(array.shape, np.int64).tobytes() + array.tobytes()
            size += len(text) + len(data)
            if size > MOST_OF_TEST_SET:
                break
            rows.append((key, text, len(array.shape).to_bytes(1) + data))
        columns = dict(zip(("key", "facts", "array"), map(list, zip(*rows, strict=True)), strict=True)) if rows else {}
        try:
            if columns:
                kinds = {"key": pa.string(), "facts": pa.string(), "array": pa.binary()}
                table = pa.table({name: pa.array(values, kinds[name]) for name, values in columns.items()})
                write_sealed_table(entries.path, table, {}, compression="none")  # replicates are noise
                _make_room(self.folder)
        except (UserError, OSError) as error:
            self._say(f"evaluations are not kept in {self.folder}: {error}", "not kept")

    def _say(self, message: str, what: str = "") -> None:
        if (what or message) not in self._told:
            self._told.add(what or message)
            self.note(message)


NOTHING_KEPT, NO_ENTRIES = Evaluations(None), Entries(None)


def content(rows: pd.DataFrame) -> str:
    """A digest of predictions, to the bit: column by column, whatever they hold."""
    digest = hashlib.blake2b(digest_size=20)
    for name in rows.columns:
        column = rows[name]
        digest.update(f"{name}\n{column.dtype}\n{len(column)}\n".encode())
        if isinstance(column.dtype, np.dtype) and column.dtype != object:
            digest.update(column.to_numpy().tobytes())
            continue
        array = pa.array(column.tolist())
        digest.update(str(array.type).encode())
        for buffer in array.buffers():
            digest.update(b"-" if buffer is None else buffer)
    return digest.hexdigest()


def key(*parts: object) -> str:
    """A digest of plain values."""
    return hashlib.blake2b(json.dumps(parts, sort_keys=True, default=str).encode(), digest_size=20).hexdigest()


def _digest(tests: TestSet, measures: Iterable[str]) -> str:
    """Of all that is the same for all encoders of a test set."""
    digest = hashlib.blake2b(digest_size=20)
    digest.update(
        key(_version(), tests.key, tests.labels, tests.kind, sorted(tests.groups.items()), [*measures]).encode()
    )
    digest.update("\n".join(tests.patients.tolist()).encode())
    digest.update(tests.targets.tobytes())
    return digest.hexdigest()


@cache
def _version() -> Mapping[str, str]:
    """The code that evaluates, and the libraries that it computes with."""
    import scipy

    digest = hashlib.blake2b(digest_size=20)
    for folder in (Path(__file__).parent, Path(metrics.__path__[0])):
        for path in sorted(folder.glob("*.py")):
            digest.update(path.name.encode() + path.read_bytes())
    return {"code": digest.hexdigest(), "numpy": np.__version__, "scipy": scipy.__version__}


def _array(data: bytes) -> Array:
    """What ``save`` wrote: the number of dimensions in a byte, the shape, the numbers."""
    head = 1 + 8 * data[0]
    shape = np.frombuffer(data[1:head], np.int64)
    return np.frombuffer(data[head:], np.float64).reshape(shape)


def _make_room(folder: Path) -> None:
    """Delete the files that were not used for longest, until the rest fits, and what killed processes left behind."""
    found = [(path.stat(), path) for path in folder.iterdir()]
    for stat, path in found:
        if is_temporary(path) and time.time() - stat.st_mtime > ABANDONED:
            path.unlink(missing_ok=True)
    files = [(stat, path) for stat, path in found if path.suffix == ".parquet"]
    total = sum(stat.st_size for stat, _ in files)
    for stat, path in sorted(files, key=lambda of: of[0].st_mtime):
        if total <= MOST:
            break
        path.unlink(missing_ok=True)
        total -= stat.st_size
