"""Manifests that are kept: a dataset is read once, and again when anything that was read for it has changed.

Beside the manifest stands what was seen when it was read: size and time of last change of every file and folder.
Looking at them again is a system call each, some seconds for a million, where reading the tables, walking through the
folders and opening the reports takes minutes. A kept manifest that is damaged, or of other code, is made again.
"""

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cxrbench.data.manifest import Manifest
from cxrbench.data.stamps import Known, file_of, look, with_stamps
from cxrbench.errors import UserError
from cxrbench.files.digests import file_sha256
from cxrbench.files.seal import check
from cxrbench.files.tables import write_sealed_table

METADATA_KEY = b"cxrbench.kept"


@dataclass(frozen=True)
class Origin:
    """What a manifest is read from.

    ``root``: its folder. ``table``: the user's own table in it, whose manifest depends on the files that it names; None
    where a reader may look at anything below ``root``. ``read`` makes the manifest. ``code``: the folder of the code
    that reads it, where that is not the package's own.
    """

    root: Path
    read: Callable[[], Manifest]
    table: Path | None = None
    code: Path | None = None


@dataclass(frozen=True)
class Looked:
    """What was seen: ``paths`` below the root (or absolute), and size and time of each [paths, 2]."""

    paths: list[str]
    seen: NDArray[np.int64]


def read_kept(origin: Origin, folder: Path | None) -> Manifest:
    """The manifest of a dataset with the stamps of its files, from ``folder`` if nothing has changed since it was kept.

    Without a folder nothing is kept: all is read. A folder that cannot be written to is no error. Several processes may
    do this at once. Raises what ``origin.read`` raises.
    """
    if folder is None:
        return with_stamps(origin.read(), {})
    name = hashlib.sha256(str((origin.table or origin.root).absolute()).encode()).hexdigest()[:32]
    place, code = folder / f"{name}.parquet", source_digest(origin.code)
    looked = _load(place, code)
    if looked is not None and np.array_equal(look(origin.root, looked.paths), looked.seen):
        looked = None  # maybe a million paths, whose memory the manifest may have
        with suppress(UserError):
            kept = Manifest.load(place)
            return kept if kept.root == origin.root else replace(kept, root=origin.root)
    # Looked at before it is read: what changes meanwhile is noticed next time
    paths = _tree(origin.root) if origin.table is None else _beside(origin.table)
    before = Looked(paths, look(origin.root, paths))
    manifest = with_stamps(origin.read(), _known(looked, place))
    with suppress(UserError, OSError):
        _save(place, code, _with_files(origin.root, before, manifest), manifest)
    return manifest


def source_digest(extra: Path | None = None) -> str:
    """sha256 of the code that reads datasets: of this package's data folder, and of the modules in ``extra``."""
    digest = hashlib.sha256()
    own = Path(__file__).parent
    modules = sorted(own.rglob("*.py")) + (sorted(extra.glob("*.py")) if extra is not None else [])
    for module in modules:
        digest.update(module.name.encode() + b"|" + hashlib.sha256(module.read_bytes()).digest())
    return digest.hexdigest()


def _tree(root: Path) -> list[str]:
    """Every folder and file below ``root``, as paths below it, and itself; links to folders are followed once."""
    found, todo, been = ["."], [("", str(root))], {os.path.realpath(root)}
    while todo:
        prefix, place = todo.pop()
        try:
            entries = list(os.scandir(place))
        except OSError:
            continue
        for entry in entries:
            path = f"{prefix}{entry.name}"
            found.append(path)
            if entry.is_dir():
                if entry.is_symlink():
                    target = os.path.realpath(entry.path)
                    if target in been:
                        continue
                    been.add(target)
                todo.append((f"{path}/", entry.path))
    return found


def _beside(table: Path) -> list[str]:
    """A user's table and what may lie beside it and be read with it."""
    return [table.name, table.with_suffix(".toml").name]


def _with_files(root: Path, looked: Looked, manifest: Manifest) -> Looked:
    """What was seen, and the images and mask files that the manifest names beyond it."""
    there = set(looked.paths)
    further = [path for path in dict.fromkeys(map(file_of, _stamped(manifest))) if path not in there]
    return Looked([*looked.paths, *further], np.concatenate([looked.seen, look(root, further)]))


def _stamped(manifest: Manifest) -> dict[str, str]:
    """Stamps of images and mask files by path."""
    stamps = dict(zip(manifest.images["path"], manifest.images["stamp"], strict=True))
    if manifest.masks is not None and "stamp" in manifest.masks:
        pairs = zip(manifest.masks["path"], manifest.masks["stamp"], strict=True)
        stamps |= {path: stamp for path, stamp in pairs if isinstance(path, str) and path}
    return stamps


def _known(looked: Looked | None, place: Path) -> Known:
    """The stamps that need not be made again while size and time of their files are what they were."""
    if looked is None:
        return {}
    try:
        kept = Manifest.load(place)
    except UserError:
        return {}
    seen = dict(zip(looked.paths, map(tuple, looked.seen.tolist()), strict=True))
    return {path: (seen[file_of(path)], stamp) for path, stamp in _stamped(kept).items() if stamp}


def _load(place: Path, code: str) -> Looked | None:
    """What was seen for the manifest that is kept, if both are whole and the same code made them."""
    try:
        check(_list_of(place))
        table = pq.read_table(_list_of(place))
        facts = json.loads((table.schema.metadata or {})[METADATA_KEY])
        seen = np.stack([table[name].to_numpy() for name in ("size", "time")], axis=1)
        if facts == {"code": code, "manifest": file_sha256(place)}:
            return Looked(table["path"].to_pylist(), seen)
    except (OSError, UserError, pa.ArrowException, KeyError, ValueError, TypeError):
        pass
    return None


def _save(place: Path, code: str, looked: Looked, manifest: Manifest) -> None:
    """Keep a manifest and what was seen for it. The list says which file it belongs to: a whole pair or nothing."""
    manifest.save(place)
    facts = json.dumps({"code": code, "manifest": file_sha256(place)}).encode()
    table = pa.table({"path": looked.paths, "size": looked.seen[:, 0], "time": looked.seen[:, 1]})
    write_sealed_table(_list_of(place), table, {METADATA_KEY: facts})


def _list_of(place: Path) -> Path:
    return place.with_suffix(".files.parquet")
