"""How much a cache folder may hold: entries used longest ago make room for new ones."""

import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cxrbench.errors import UserError
from cxrbench.features.making import locked
from cxrbench.files.atomic import ReadOnlyError, writing
from cxrbench.files.folders import below
from cxrbench.files.generations import Holder
from cxrbench.files.leases import Leases
from cxrbench.files.turns import at_once
from cxrbench.progress import Progress


@dataclass(frozen=True)
class Held:
    """What one entry takes: finished, partial, or only reserved. ``used``: when it was last used, in nanoseconds."""

    folder: Path
    bytes: int
    used: int


@contextmanager
def room(root: Path, folder: Path, size: int, limit: int, keep: Collection[Path]) -> Iterator[bool]:
    """Reserve ``size`` bytes for the entry ``folder`` below ``root``: yields whether there is room within ``limit``.

    ``limit`` is in bytes and for all entries together, those that other processes are making included. Entries used
    longest ago are deleted for it, never one in ``keep`` or one that is being made. The reservation ends with the
    context; a finished entry of that name counts as itself.
    """
    reserved = folder.with_suffix(".reserved")
    try:
        fits = _reserve(root, folder, reserved, size, limit, keep)
    except ReadOnlyError:  # nothing can be made there and nothing deleted: what is finished can be read
        if not folder.exists():
            raise
        yield True
        return
    try:
        yield fits
    finally:
        reserved.unlink(missing_ok=True)


def _reserve(root: Path, folder: Path, reserved: Path, size: int, limit: int, keep: Collection[Path]) -> bool:
    """Whether there is room, made by deleting what may be deleted; if so it is reserved."""
    waiting = "another process is making room in the cache: waiting for it"
    with locked(root / "room", waiting, Progress()), Leases() as leases:
        others = [held for held in _entries(root) if held.folder != folder]
        kept = sum(held.bytes for held in others if held.folder in keep)
        wanted = size if kept + size <= limit else 0
        taken = sum(held.bytes for held in others)
        for held in sorted(others, key=lambda held: held.used):
            if taken + wanted > limit and held.folder not in keep and _evict(held.folder, leases):
                taken -= held.bytes
        fits = wanted > 0 and taken + wanted <= limit
        if fits and not folder.exists():
            _write(reserved, size)
        elif not fits:
            _evict(folder, leases)
        return fits


def _entries(root: Path) -> list[Held]:
    """Every entry below ``root``."""
    folders = {path.with_suffix("") for path in root.glob("*/*") if path.suffix in ("", ".partial", ".reserved")}
    return [_held(folder) for folder in folders]


def _held(folder: Path) -> Held:
    files = [*below(folder), *below(folder.with_suffix(".partial"))]
    size, used = 0, 0
    for file in files:
        with suppress(OSError):  # another process may be deleting it
            facts = file.stat()
            size, used = size + facts.st_size, max(used, facts.st_mtime_ns)
    with suppress(OSError, ValueError):
        reserved = folder.with_suffix(".reserved")
        size, used = max(size, int(reserved.read_text())), max(used, reserved.stat().st_mtime_ns)
    return Held(folder, size, used)


def _evict(folder: Path, leases: Leases) -> bool:
    """Delete an entry, unless it is being made. A process that has it in memory keeps reading it."""
    try:
        lease = at_once(leases, folder.with_suffix(".lock"), f"making room: {folder.name}")
    except (UserError, OSError):
        return False
    if isinstance(lease, Holder):
        return False
    with lease:
        for path in (folder, folder.with_suffix(".partial")):
            shutil.rmtree(path, ignore_errors=True)
        folder.with_suffix(".reserved").unlink(missing_ok=True)
        return not folder.exists()


def evicted(folder: Path) -> bool:
    """Delete an entry, finished or not, unless a process is making it: whether it has gone."""
    with Leases() as leases:
        return _evict(folder, leases) and not folder.with_suffix(".partial").exists()


def _write(path: Path, size: int) -> None:
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(size))
