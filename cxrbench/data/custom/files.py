"""The files that a user's table names: one spelling of a path, one row for a file, and none that is missing."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from cxrbench.data.datasets.layout import File
from cxrbench.data.tables import is_empty
from cxrbench.errors import UserError
from cxrbench.files.names import plain, some

Found = tuple[str, os.stat_result]


def normal_path(cell: str) -> str:
    """A path with ``/``, without ``.`` and doubled slashes; "" for an empty cell.

    ``..`` stays: behind a link to a folder it does not lead back.
    """
    if is_empty(cell):
        return ""
    path = cell.replace("\\", "/")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return ("/" if path.startswith("/") else "") + "/".join(parts)


def find_files(path: Path, names: Sequence[str]) -> dict[str, File]:
    """Each file that the table ``path`` names, with its size. UserError names the first few that are missing."""
    return _required(path, names, _looked_at(path.parent, names))


def find_images(path: Path, names: Sequence[str]) -> dict[str, File]:
    """``find_files`` for images, of which no two may be one file: by a link it would be in two rows, or two splits."""
    return _required(path, names, _distinct(path, _looked_at(path.parent, names)))


def _required(path: Path, names: Sequence[str], looked_at: Iterable[Found]) -> dict[str, File]:
    found = {name: File(name, facts.st_size) for name, facts in looked_at}
    if missing := [name for name in names if name not in found]:
        raise UserError(
            f"{path} names {len(missing):,} file(s) that are not there ({some(missing)}); paths are relative to "
            f"{path.parent}"
        )
    return found


def _distinct(path: Path, looked_at: Iterable[Found]) -> Iterator[Found]:
    """The same, until one file comes under a second name."""
    first: dict[tuple[int, int], str] = {}
    for name, facts in looked_at:
        if (before := first.setdefault((facts.st_dev, facts.st_ino), name)) != name:
            raise UserError(
                f"{path}: {plain(before)} and {plain(name)} are one file (a link leads from one to the other); give "
                "each image one row"
            )
        yield name, facts


def _looked_at(folder: Path, names: Sequence[str]) -> Iterator[Found]:
    """The names that are files, in order, with what the file system says of them."""
    for name in names:
        try:
            facts = os.stat(f"{folder}/{name}" if not name.startswith("/") else name)
        except (OSError, ValueError):
            continue
        if stat.S_ISREG(facts.st_mode):
            yield name, facts
