"""Whether a results folder and a cache are as they were written, and what would be done about what is not.

Nothing is changed. Every file is read once; sealed files say themselves whether they are whole.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cxrbench.errors import UserError
from cxrbench.features.entries import read_meta
from cxrbench.files.atomic import is_temporary
from cxrbench.files.generations import is_lease
from cxrbench.files.records import read_record
from cxrbench.files.seal import DamagedError, check, check_digest
from cxrbench.predictions import read_header

Condition = Literal["whole", "damaged", "unfinished", "left over", "foreign"]
ENTRIES = {"features": "pooled features", "dense": "dense maps"}
KEPT = {".npy": "arrays", ".safetensors": "teachers", ".json": "records", ".parquet": "tables"}
SERVANTS = (".lock", ".reserved")  # of a cache, empty or nearly; locks are of earlier versions
FRESH = 3600.0  # seconds: a younger temporary file may be one that is being written
AGAIN = "it is made again when it is asked for"


@dataclass(frozen=True)
class Verdict:
    """What a file, or a cache entry, is, in which condition, why, and what the next run does about it."""

    kind: str
    path: Path
    condition: Condition
    reason: str = ""
    next: str = ""


@dataclass(frozen=True)
class Item:
    """Something to be examined. ``examine`` raises UserError or OSError if it is damaged."""

    kind: str
    path: Path
    examine: Callable[[Path], object] | None = None
    condition: Condition = "whole"
    next: str = ""


def items(results: Path | None, cache: Path | None) -> list[Item]:
    """All that is to be examined in both folders, in a fixed order."""
    found = [*_of_results(results)] if results else []
    return found + ([*_of_cache(cache)] if cache else [])


def examined(item: Item) -> Verdict:
    """What has become of an item. Reads all of it."""
    if item.examine is not None:
        try:
            item.examine(item.path)
        except (UserError, OSError, KeyError) as error:
            return Verdict(item.kind, item.path, "damaged", _reason(error), item.next)
    elif item.condition == "left over" and time.time() - item.path.stat().st_mtime < FRESH:
        return Verdict(
            item.kind, item.path, "unfinished", "it is less than an hour old", "another process may write it"
        )
    return Verdict(item.kind, item.path, item.condition, next=item.next if item.condition != "whole" else "")


def _reason(error: Exception) -> str:
    """What an examination has found, without the path and without advice."""
    if isinstance(error, OSError):
        return f"{error.strerror}: {Path(str(error.filename)).name}"
    return error.reason if isinstance(error, DamagedError) else str(error)


def _of_results(root: Path) -> Iterator[Item]:
    for path in _files(root):
        parts = path.relative_to(root).parts
        if is_temporary(path):
            yield _left_over(path)
        elif parts[0] == "cells" and len(parts) == 5 and path.suffix == ".parquet":
            yield Item("predictions", path, read_header, next=f"computed again: {_cell(parts)}")
        elif parts[0] == "cells" and len(parts) == 5 and path.suffix == ".json":
            yield Item("cells not applicable", path, read_record, next=f"asked again: {_cell(parts)}")
        elif parts[0] == "manifests" and len(parts) == 2 and path.suffix == ".parquet":
            yield Item("manifests", path, check, next="written again with the next cell of the dataset")
        elif parts[0] == "encoders" and len(parts) == 2 and path.suffix == ".json":
            yield Item("efficiency", path, read_record, next="measured again with the next cell of the encoder")
        elif parts[0] == "requests" and len(parts) == 2 and path.suffix == ".json":
            yield Item("requests", path, read_record, next="written again when the same is asked again")
        elif parts[0] == "packs" and len(parts) == 2 and path.suffix == ".json":
            yield Item("merged packs", path, read_record, next="merge the pack again")
        elif parts[0] == "aggregates" and len(parts) == 2 and path.suffix == ".json":
            yield Item("aggregates", path, read_record, next="merge the pack again")
        elif parts[0] == "failures" and len(parts) == 5 and path.suffix == ".json":
            yield Item("failed cells", path, read_record, next="written again if the cell fails again")
        elif parts == ("renaming.json",):
            yield Item("renamings", path, None, "unfinished", "say the same `cxrbench results rename` again")
        elif parts[0] != "leases":  # theirs is to be there or not: nothing is kept in them
            yield _foreign(path)


def _of_cache(root: Path) -> Iterator[Item]:
    for name, kind in ENTRIES.items():
        for folder in sorted((root / name).glob("*/*")):
            if folder.suffix in SERVANTS or is_lease(folder):
                continue
            places = sorted(folder.glob("*")) if folder.suffix == ".parts" else [folder]
            yield from (_entry(kind, place) for place in places if not is_lease(place))
    for path in _files(root):
        parts = path.relative_to(root).parts
        if parts[0] in ENTRIES or parts[0].startswith("phantom-v"):
            continue
        if is_temporary(path):
            yield _left_over(path)
        elif path.suffix == ".u8":
            yield Item("prepared images", path, _check_prepared, next=AGAIN)
        elif path.suffix == ".part" or path.name.endswith(".part.json"):
            yield Item("prepared images", path, None, "unfinished", "it goes on when it is asked for")
        elif path.suffix == ".json" and path.with_suffix(".u8").exists():
            continue  # examined with what it is of
        elif path.suffix in KEPT:
            yield Item(KEPT[path.suffix], path, _check_record if path.suffix == ".json" else check, next=AGAIN)
        elif path.suffix not in SERVANTS and not is_lease(path):
            yield _foreign(path)


def _entry(kind: str, folder: Path) -> Item:
    """A cache entry, or a part of one, in whatever state."""
    if is_temporary(folder):
        return _left_over(folder)
    if folder.suffix == ".partial":
        return Item(kind, folder, None, "unfinished", "it goes on when it is asked for")
    return Item(kind, folder, _check_entry, next=AGAIN)


def _check_entry(folder: Path) -> None:
    """A finished entry: its rows, and whatever else is kept beside them."""
    read_meta(folder)
    for path in sorted(folder.glob("*.json")):
        read_record(path)


def _check_prepared(path: Path) -> None:
    """Prepared images against the record beside them."""
    kept = read_record(path.with_suffix(".json"))
    check_digest(path, kept["sha256"], path.stat().st_size)


def _check_record(path: Path) -> None:
    """A record alone: those of prepared images have lost what they are of."""
    if read_record(path).keys() == {"dropped", "sha256"}:
        raise DamagedError(path, f"it has lost {path.with_suffix('.u8').name}")


def _files(root: Path) -> list[Path]:
    """Every file below a folder, links not followed, in a fixed order."""
    return sorted(Path(folder, name) for folder, _, names in os.walk(root) for name in names)


def _left_over(path: Path) -> Item:
    return Item("temporary files", path, None, "left over", "nothing reads it: it may be deleted")


def _foreign(path: Path) -> Item:
    return Item("other files", path, None, "foreign", "left alone")


def _cell(parts: tuple[str, ...]) -> str:
    """A cell's name, from where it lies."""
    _, dataset, protocol, encoder, file = parts
    return f"{encoder} on {dataset}:{protocol}, {Path(file).stem.replace('-', ' ')}"
