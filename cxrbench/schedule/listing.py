"""What lies in a folder, for workers that ask for many files of it: one listing in place of a question per file."""

import os
import time
from collections.abc import Callable
from pathlib import Path

FRESH = 1.0  # seconds for which a listing is believed


class FolderNames:
    """The names in the folder that was asked for last, listed again when it is another one or not ``FRESH`` any more.

    512 workers that each ask for 37,500 cells make 77 million operations on the file system that they share; a listing
    per 15 cells makes two and a half (``benchmarks/results/simulation.md``).
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._folder: Path | None = None
        self._names: frozenset[str] = frozenset()
        self._until = 0.0

    def has(self, file: Path) -> bool:
        """Whether a file is there, or was within the last second."""
        if file.parent != self._folder or self._clock() >= self._until:
            self._folder, self._until = file.parent, self._clock() + FRESH
            try:
                with os.scandir(file.parent) as entries:
                    self._names = frozenset(entry.name for entry in entries)
            except (FileNotFoundError, NotADirectoryError):
                self._names = frozenset()
        return file.name in self._names
