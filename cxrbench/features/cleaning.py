"""What the cache holds, when it was last used, and making room in it: oldest use first, never what is being made."""

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cxrbench.errors import UserError
from cxrbench.features.cache_limit import evicted
from cxrbench.files.atomic import is_temporary
from cxrbench.files.folders import below

ENTRIES = {"features": "pooled features", "dense": "dense maps"}
KINDS = {
    "evaluations": "evaluations", "manifests": "kept manifests", "encoders": "known encoders",
    "headers": "known results", "pretraining": "kept for pretraining",
}  # fmt: skip
PHANTOM = "phantom-v"
NOT_OURS = "other files"
DIGEST = re.compile(r"(^|[.-])[0-9a-f]{12,64}([.-]|$)")
"""What is in the name of every file of ours. A folder may be named by mistake, and also have e.g. ``encoders/``."""
OF_RESULTS = ("cells", "requests", "packs", "aggregates")
"""Folders of results, whose ``encoders/`` and ``manifests/`` hold files that are called as those of a cache."""
IN_USE = 3600.0  # seconds: what was used within them is taken to be in use now, and is never deleted
ABANDONED = 24 * 3600.0  # seconds without a write after which nobody is making what is unfinished
SERVANTS = (".lock", ".reserved")
Fate = Literal["", "deleted", "in use", "being made", "cannot be deleted"]


@dataclass(frozen=True)
class Cached:
    """Something in the cache that is kept or goes as a whole: an entry, a phantom data set, a file and its record.

    ``used``: when a file of it was last read or written, in seconds; file systems that keep no times of reading know
    the last alone. ``fate``: what a cleaning made of it, or would.
    """

    kind: str
    path: Path
    files: tuple[Path, ...]
    bytes: int
    used: float
    unfinished: bool = False
    fate: Fate = ""


@dataclass(frozen=True)
class Cleaned:
    """What a cleaning did: every item that was to go, with its fate, and the bytes of the cache before and after."""

    items: tuple[Cached, ...]
    before: int
    after: int


def cached(root: Path) -> list[Cached]:
    """Everything below a cache folder, what was used longest ago first. Locks and leases are no part of it.

    What is not called as cxrbench calls its files is of kind ``NOT_OURS``: it is never deleted. Links are none of ours.
    """
    found = [*_entries(root), *_phantoms(root), *_files(root)]
    return sorted(found, key=lambda one: (one.used, str(one.path)))


def clean(root: Path, *, older: float | None, limit: int | None, dry_run: bool = False) -> Cleaned:
    """Delete what was not used for ``older`` seconds, then what was used longest ago until ``limit`` bytes are left.

    What was used within the last hour stays, as does what a process is making: an entry is deleted under its own lease.
    What is not ours stays, and is not counted. ``dry_run``: nothing is deleted, and it is said what would be. Raises
    UserError for a results folder: what it holds beside its cells is not made again.
    """
    if there := [name for name in OF_RESULTS if (root / name).is_dir()]:
        raise UserError(
            f"{root} holds results ({there[0]}/), nothing is deleted there: give --cache DIR, a cache alone"
        )
    found, now = [one for one in cached(root) if one.kind != NOT_OURS], time.time()
    before = left = sum(one.bytes for one in found)
    items = []
    for one in found:
        too_old, too_much = older is not None and now - one.used > older, limit is not None and left > limit
        if not (too_old or too_much):
            continue
        fate = _fate(one, now, dry_run=dry_run)
        left -= one.bytes if fate == "deleted" else 0
        items.append(replace(one, fate=fate))
    return Cleaned(tuple(items), before, left)


def _fate(one: Cached, now: float, *, dry_run: bool) -> Fate:
    if now - one.used < IN_USE:
        return "in use"
    if one.unfinished and one.kind not in ENTRIES.values() and now - one.used < ABANDONED:
        return "being made"
    if dry_run:
        return "deleted"
    if one.kind in ENTRIES.values():
        return "deleted" if evicted(one.path) else "being made"
    for path in one.files:
        with suppress(OSError):
            _delete(path)
    return "cannot be deleted" if any(path.exists() for path in one.files) else "deleted"


def _delete(path: Path) -> None:
    """A file; or a folder, which goes out of sight whole before its content is deleted."""
    if not path.is_dir():
        return path.unlink(missing_ok=True)
    hidden = path.with_name(f".{path.name}.deleted-{os.getpid()}")
    os.replace(path, hidden)
    shutil.rmtree(hidden)
    return None


def _entries(root: Path) -> Iterator[Cached]:
    """Entries of features and maps, finished or not."""
    for name, kind in ENTRIES.items():
        paths = [path for path in (root / name).glob("*/*") if _is_entry(path)]
        for folder in sorted({path.with_suffix("") for path in paths if path.suffix in ("", ".partial", ".reserved")}):
            partial = folder.with_suffix(".partial")
            yield _of(kind, folder, [folder, partial], unfinished=partial.exists())
        for parts in sorted(path for path in paths if path.suffix == ".parts"):
            used = _of(kind, parts, [parts]).used  # of an entry that is being made, all parts are in use
            found = (path for path in below(parts) if path.parent == parts and path.suffix in ("", ".partial"))
            for folder in sorted({path.with_suffix("") for path in found}):
                whole = _of(kind, folder, [folder, folder.with_suffix(".partial")], unfinished=True)
                yield replace(whole, used=used)


def _phantoms(root: Path) -> Iterator[Cached]:
    """Data sets of phantoms: what is hidden is being drawn, or was left behind."""
    for folder in sorted(root.glob(f"{PHANTOM}[0-9]*/*")):
        if folder.is_dir() and not folder.is_symlink():
            yield _of("phantom images", folder, [folder], unfinished=folder.name.startswith("."))


def _is_entry(path: Path) -> bool:
    """Whether a path is called as an entry is, which lies in a folder of its first two digits; and is no link."""
    shard = path.parent.name
    return re.fullmatch("[0-9a-f]{2}", shard) is not None and path.name.startswith(shard) and not path.is_symlink()


def _files(root: Path) -> Iterator[Cached]:
    """All other files; those that are called alike (``KEY.u8``, ``KEY.json``) belong together."""
    groups: dict[Path, list[Path]] = {}
    for folder, _, names in os.walk(root):
        top = Path(folder).relative_to(root).parts[:1]
        if top and (top[0] in ENTRIES or re.match(f"{PHANTOM}[0-9]", top[0])):
            continue
        for name in names:
            path = Path(folder, name)
            if path.suffix not in SERVANTS and ".lock" not in path.suffixes:
                groups.setdefault(path if name.startswith(".") else path.with_name(name.partition(".")[0]), []).append(
                    path
                )
    for stem, paths in sorted(groups.items()):
        top = stem.relative_to(root).parts[0]
        unfinished = any(is_temporary(path) or ".part" in path.suffixes for path in paths)
        ours = all(DIGEST.search(path.name) and not path.is_symlink() for path in paths)
        yield _of(KINDS.get(top, NOT_OURS) if ours else NOT_OURS, min(paths), sorted(paths), unfinished=unfinished)


def _of(kind: str, path: Path, files: list[Path], *, unfinished: bool = False) -> Cached:
    """Size and last use of files and of all that is in folders."""
    size, used = 0, 0.0
    for file in files:
        for one in [file, *below(file)]:
            with suppress(OSError):  # another process may be deleting it
                facts = one.stat()
                if not one.is_dir():
                    size, used = size + facts.st_size, max(used, facts.st_mtime, facts.st_atime)
    return Cached(kind, path, tuple(files), size, used, unfinished)
