"""The headers of a store: every file is looked at, and read if it is not what it was when it was last read."""

import fnmatch
import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cxrbench.engine.headers.header import PREDICTIONS, REASON, CellHeader, header_in
from cxrbench.engine.headers.table import FileLook, HeaderTable, load
from cxrbench.errors import UserError

CELL = "fraction-*-seed-*"
KEPT = "headers"
"""The folder of a cache that remembers headers, a file per store."""
WORTH = 64  # files that had to be read before what was learnt is written: below, reading them again costs no more
SETTLED = 2 * 10**9  # ns since a file's last change, below which it may change again and look the same


@dataclass
class StoreHeaders:
    """A ReadHeader of the cells below ``root`` (``STORE/cells``), asked once by one process and then ``keep``-ed.

    ``cache``: the cache folder; None: nothing is remembered. A folder is listed when the first of its cells is asked
    for; what is written there later is not seen. The files are the truth: what is remembered of one that looks
    otherwise now, or that cannot be trusted (a damaged list), is read again; ``cxrbench verify`` reads all.
    """

    root: Path
    cache: Path | None = None
    _table: HeaderTable | None = None
    _listed: dict[str, Mapping[str, os.DirEntry[str]]] = field(default_factory=dict)  # by folder; texts, for speed
    _learnt: int = 0

    def __call__(self, path: Path) -> CellHeader | None:
        """The header of the cell whose predictions would lie at ``path``. Raises DamagedError, UserError."""
        folder, name = os.path.split(path)
        entries = self._entries(folder)
        for one in (name.removesuffix(PREDICTIONS) + REASON, name):
            if (entry := entries.get(one)) is not None:
                with suppress(FileNotFoundError):  # replaced by the other one since
                    return self._header(entry)
        return None

    def files(self, suffix: str) -> Iterator[Path]:
        """Every file of a cell that ends so, in the order of their paths."""
        for folder in self._folders():
            names = fnmatch.filter(self._entries(folder), CELL + suffix)
            yield from (Path(folder, name) for name in sorted(names))

    def of_file(self, file: Path) -> CellHeader:
        """The header in one of ``files``. Raises FileNotFoundError, DamagedError, UserError."""
        return self._header(self._entries(str(file.parent))[file.name])

    def keep(self) -> None:
        """Remember what was read, if that was much. A cache that cannot be written stays as it is."""
        place = self._place()
        if place is None or self._learnt < WORTH:
            return
        table, listed = self._headers(), {self._below(folder): entries for folder, entries in self._listed.items()}
        for path in list(table.rows):
            folder, _, name = path.rpartition("/")
            if folder in listed and name not in listed[folder]:
                del table.rows[path]
        with suppress(UserError, OSError):
            table.save(place)

    def _header(self, entry: "os.DirEntry[str]") -> CellHeader:
        path, look, table = self._below(entry.path), _look(entry), self._headers()
        if (known := table.header(path, look)) is not None:
            return known
        header = header_in(Path(entry.path))
        if time.time_ns() - max(look.modified, look.changed) < SETTLED:
            return header
        self._learnt += 1
        return table.add(path, look, header)  # as it shares its parts with the others

    def _entries(self, folder: str) -> Mapping[str, "os.DirEntry[str]"]:
        """What lies in a folder, by name."""
        if folder not in self._listed:
            try:
                with os.scandir(folder) as entries:
                    self._listed[folder] = {entry.name: entry for entry in entries}
            except (FileNotFoundError, NotADirectoryError):
                self._listed[folder] = {}
        return self._listed[folder]

    def _folders(self) -> list[str]:
        """Folders of cells: ``DATASET/PROTOCOL/ENCODER``, in the order of their paths."""
        level = [str(self.root)]
        for _ in range(3):
            level = [os.path.join(folder, name) for folder in level for name in sorted(self._entries(folder))]
        return level

    def _below(self, path: str) -> str:
        return path[len(str(self.root)) + 1 :]

    def _place(self) -> Path | None:
        """Where the headers of this store are remembered."""
        if self.cache is None:
            return None
        name = hashlib.sha256(str(self.root.absolute()).encode()).hexdigest()[:32]
        return self.cache / KEPT / f"{name}.parquet"

    def _headers(self) -> HeaderTable:
        """What is known so far."""
        if self._table is None:
            place = self._place()
            self._table = HeaderTable() if place is None else load(place)
        return self._table


def _look(entry: "os.DirEntry[str]") -> FileLook:
    seen = entry.stat()
    return FileLook(seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino)
