"""Evaluations that were made before: what a board needs of an encoder on a test set, kept by what it was made of.

What is the same for all encoders (images, patients, targets, metrics, the code and libraries that evaluate) names a
test set; its files have entries by the content of predictions. What is new is written beside what is there, in a file
of its own, until there are many (``MOST_FILES``), of which one is made. What is not there, damaged, or of anything else
is made anew: a cache is never a reason to fail, and never changes a number.
"""

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cxrbench.errors import UserError
from cxrbench.files.atomic import is_temporary
from cxrbench.files.seal import check
from cxrbench.files.tables import write_sealed_noise
from cxrbench.leaderboard.statistics.alignment import TestSet
from cxrbench.leaderboard.statistics.digests import key, of_test_set
from cxrbench.metrics.prepared import Array

MOST_OF_TEST_SET, MOST = 256 << 20, 2 << 30  # bytes of a test set, and of all of them: the oldest files go
MOST_FILES = 8  # of a test set
LEAST = 1_000  # targets of a test set: of fewer, replicates are sooner drawn than read
ABANDONED = 24 * 3600.0  # seconds after which nobody is still writing a temporary file
ADVICE = "it is made anew"


def _quiet(message: str) -> None:
    """For who wants no notes."""


@dataclass
class Entries:
    """What is kept of one test set: by key plain facts and an array, as texts and bytes until they are asked for.

    ``name``: of the test set; None: nothing is kept. ``files``: how many there are of what was ``found``.
    """

    name: str | None
    files: int = 0
    found: dict[str, tuple[str, pa.Buffer]] = field(default_factory=dict)
    new: dict[str, tuple[Any, Array]] = field(default_factory=dict)

    def get(self, key: str) -> tuple[Any, Array] | None:
        """An entry, or None."""
        if key in self.new:
            return self.new[key]
        return (json.loads(self.found[key][0]), _array(self.found[key][1])) if key in self.found else None

    def beginning(self, what: str) -> list[tuple[Any, Array]]:
        """The entries whose keys begin so."""
        names = (name for name in {**self.found, **self.new} if name.startswith(what))
        return [entry for name in names if (entry := self.get(name)) is not None]

    def add(self, key: str, facts: Any, array: Array) -> None:
        """Keep an entry, once ``Evaluations.save`` is called."""
        if self.name is not None:
            self.new[key] = facts, array


@dataclass
class Evaluations:
    """A folder of kept evaluations; None: nothing is kept. ``note`` is told, once each, what is wrong with files."""

    folder: Path | None
    note: Callable[[str], None] = _quiet
    _told: set[str] = field(default_factory=set)
    _listed: dict[str, list[Path]] | None = None  # files by test set, as this process knows them
    _written: float = math.inf  # bytes since it was last looked whether there is room

    def of(self, tests: TestSet, measures: Iterable[str]) -> Entries:
        """What is kept of a test set and these metrics; nothing of what cannot be read."""
        if self.folder is None:
            return NO_ENTRIES
        name = of_test_set(tests, measures)
        read = [self._read(path) for path in self._files(name)]
        return Entries(name, len(read), {key: entry for entries in read for key, entry in entries.items()})

    def save(self, entries: Entries) -> None:
        """Write what is new beside what was there; all of it into one file, as much as there is room for, if many."""
        if self.folder is None or entries.name is None or not entries.new:
            return
        rows = {key: (json.dumps(facts), _bytes(array)) for key, (facts, array) in entries.new.items()}
        whole = entries.files >= MOST_FILES or _size(rows) + _size(entries.found) > MOST_OF_TEST_SET
        rows = _as_many_as_fit({**rows, **entries.found} | rows if whole else rows)
        if not rows:
            return
        path = self.folder / f"{entries.name}-{key(sorted(rows))[:12]}.parquet"
        try:
            write_sealed_noise(path, _table(rows))
            others = [old for old in self._files(entries.name) if old != path]
            for old in others if whole else ():
                old.unlink(missing_ok=True)
            self._files(entries.name)[:] = [path] if whole else [*others, path]
            self._written += _size(rows)
            if self._written > MOST / 16:
                _make_room(self.folder)
                self._written = 0
        except (UserError, OSError) as error:
            self._say(f"evaluations are not kept in {self.folder}: {error}", "not kept")

    def _files(self, name: str) -> list[Path]:
        """Of a test set."""
        if self._listed is None:
            self._listed = {}
            with suppress(OSError):  # no folder yet, or one that cannot be read: writing will tell
                for path in sorted(self.folder.glob("*.parquet") if self.folder else ()):
                    self._listed.setdefault(path.stem.partition("-")[0], []).append(path)
        return self._listed.setdefault(name, [])

    def _read(self, path: Path) -> dict[str, tuple[str, pa.Buffer]]:
        """The entries of a file; none if it cannot be read."""
        try:
            check(path, ADVICE)
            with pq.ParquetFile(path) as file:
                table = file.read(use_threads=False)
            names, facts, arrays = (table[name] for name in ("key", "facts", "array"))
            found = {
                name: (text, data.as_buffer())
                for name, text, data in zip(names.to_pylist(), facts.to_pylist(), arrays, strict=True)
            }
        except FileNotFoundError:
            return {}
        except (UserError, OSError, pa.ArrowException, KeyError) as error:
            if not isinstance(error.__cause__, OSError):  # a folder that cannot be read: writing will tell
                self._say(str(error) if isinstance(error, UserError) else f"{path} holds no evaluations: {ADVICE}")
                with suppress(OSError):
                    path.unlink()
            return {}
        with suppress(OSError):  # of another user, or on a disk that may only be read: it is used all the same
            os.utime(path)
        return found

    def _say(self, message: str, what: str = "") -> None:
        if (what or message) not in self._told:
            self._told.add(what or message)
            self.note(message)


NOTHING_KEPT, NO_ENTRIES = Evaluations(None), Entries(None)


def _bytes(array: Array) -> bytes:
    """The number of dimensions in a byte, the shape, the numbers."""
    return len(array.shape).to_bytes(1) + np.asarray(array.shape, np.int64).tobytes() + array.tobytes()


def _array(data: pa.Buffer) -> Array:
    """What ``_bytes`` wrote; a copy, so that the rest of the file need not be held."""
    head = 1 + 8 * memoryview(data)[0]
    shape = np.frombuffer(data, np.int64, (head - 1) // 8, 1)
    return np.frombuffer(data, np.float64, offset=head).reshape(shape).copy()


Rows = Mapping[str, tuple[str, bytes | pa.Buffer]]


def _size(rows: Rows) -> int:
    return sum(len(text) + len(data) for text, data in rows.values())


def _as_many_as_fit(rows: Rows) -> Rows:
    """The first of them, up to the bytes that a test set may have."""
    ends = np.cumsum([len(text) + len(data) for text, data in rows.values()])
    return dict(islice(rows.items(), int((ends <= MOST_OF_TEST_SET).sum())))


def _table(rows: Rows) -> pa.Table:
    texts, arrays = zip(*rows.values(), strict=True)
    columns = {"key": list(rows), "facts": texts, "array": list(map(bytes, arrays))}
    kinds = {"key": pa.string(), "facts": pa.string(), "array": pa.binary()}
    return pa.table({name: pa.array(values, kinds[name]) for name, values in columns.items()})


def _make_room(folder: Path) -> None:
    """Delete the files that were not used for longest, until the rest fits, and what killed processes left behind."""
    found = list[tuple[os.stat_result, Path]]()
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another process makes room, too, or renames what it has written
            found.append((path.stat(), path))
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
