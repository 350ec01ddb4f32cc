"""Entries of the caches: rows that are made once, however often the making is interrupted.

An entry is a folder named by its key, with one file of rows (row-major, memory-mapped on reading) and ``meta.json``
(shape, sha256 of the rows, bad images, images per second; sealed itself). While it is being made the folder ends in
``.partial`` and holds a journal; who makes it has the entry's lease. A finished entry is read without a lease and
without writing anything.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from operator import truediv
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from cxrbench.errors import UserError
from cxrbench.features.entries import META, Bad, JournalRows, Place, damage_of, intact_rows
from cxrbench.features.journal import Journal
from cxrbench.files.atomic import ReadOnlyError, sync_folder, writing
from cxrbench.files.leases import Lease, LostError
from cxrbench.files.turns import turn
from cxrbench.progress import Progress

ATTEMPTS = 2  # to finish an entry whose file another process may have written to


@dataclass(frozen=True)
class Making:
    """What the rows of an entry are made by.

    ``produce(n)`` yields batches of rows and their bad images from row n on, n a multiple of ``batch_size``; a width of
    0 means a batch of bad images only. ``facts`` go into ``meta.json``, and ``speed(rows, seconds)`` of what was made
    here: images per second.
    """

    produce: Callable[[int], Iterator[tuple[NDArray[Any], Bad]]]
    batch_size: int
    facts: Mapping[str, Any]
    speed: Callable[[int, float], float] = truediv


def cached_rows(place: Place, making: Making, waiting: str, progress: Progress) -> JournalRows:
    """The rows of an entry, made now if they are not there.

    Two processes may ask for the same entry at once: one makes it, the other says ``waiting`` and waits. Raises
    UserError for a full disk, and whatever ``making.produce`` raises; what was finished is kept.
    """
    found = intact_rows(place)
    while found is None:
        with suppress(LostError), _lock_to_make(place, waiting, progress) as lease:
            found = intact_rows(place)
            if found is None:
                if place.folder.exists():
                    said = damage_of(place)
                    lease.check()
                    progress.note(f"{said}: it is made again")
                    _remove(place.folder)
                _make(place, making, lease, progress)
                found = intact_rows(place)
                if found is None:
                    raise _damaged_at_once(place.folder)
                found = replace(found, from_cache=False)
    return found


@contextmanager
def locked(folder: Path, message: str, progress: Progress) -> Iterator[Lease]:
    """Hold the lease of an entry; say so once when it has to be waited for. Raises UserError where none can be made."""
    with turn(folder.with_suffix(".lock"), f"making {folder.name}", lambda: progress.wait(message)) as lease:
        yield lease


@contextmanager
def _lock_to_make(place: Place, waiting: str, progress: Progress) -> Iterator[Lease]:
    """As ``locked``; where an entry is damaged and the folder read-only, the message says both."""
    there = place.folder.exists()
    try:
        with locked(place.folder, waiting, progress) as lease:
            yield lease
    except ReadOnlyError as error:
        if there and place.folder.exists():
            raise UserError(f"{damage_of(place)}, and it cannot be made again: {error}") from error
        raise


def _remove(folder: Path) -> None:
    """Delete a folder of ours. Raises UserError if it cannot be deleted."""
    with writing(folder.parent):
        folder.unlink() if folder.is_file() else shutil.rmtree(folder)


def _make(place: Place, making: Making, lease: Lease, progress: Progress) -> None:
    """Make the rows in ``folder.partial``, going on from its journal if it has one, then rename it to ``folder``.

    Raises LostError once another process does that instead.
    """
    partial = replace(place, folder=place.folder.with_suffix(".partial"))
    try:
        with writing(place.folder.parent):
            for _ in range(ATTEMPTS):
                if _finished(partial) or _extracted(partial, making, lease, progress):
                    break
            else:
                raise _damaged_at_once(partial.folder)
            lease.check()
            os.replace(partial.folder, place.folder)
            sync_folder(place.folder.parent)
    except (OSError, UserError) as error:
        if lease.lost():  # its files were moved away, or are another's by now
            raise LostError from error
        raise


def _extracted(partial: Place, making: Making, lease: Lease, progress: Progress) -> bool:
    """Bring all rows into a partial entry. False if they are not those that were written."""
    partial.folder.mkdir(parents=True, exist_ok=True)
    journal = Journal(partial.folder, partial.file, partial.dtype, making.batch_size, lease)
    done = journal.rows
    progress.start(partial.rows, done)
    started = time.perf_counter()
    try:
        for values, bad in making.produce(done):
            journal.append(values, bad)
            progress.advance(len(values))
    except (UserError, KeyboardInterrupt):
        with suppress(LostError):
            journal.sync()
        raise
    seconds = time.perf_counter() - started
    made = journal.rows - done
    return journal.finish(**making.facts, images_per_second=making.speed(made, seconds) if made else float("nan"))


def _damaged_at_once(folder: Path) -> UserError:
    return UserError(f"the cache entry {folder} is damaged as soon as it is written: check the disk")


def _finished(partial: Place) -> bool:
    """Whether whoever made a partial entry was killed just before its last step, the renaming. If not, rows go on."""
    if intact_rows(partial) is not None:
        return True
    (partial.folder / META).unlink(missing_ok=True)
    return False
