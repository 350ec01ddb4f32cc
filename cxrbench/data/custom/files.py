"""The files that a user's table names: one spelling of a path, one row for a file, and none that is missing."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cxrbench.data.datasets.layout import File
from cxrbench.data.decode.arrays import rows_of
from cxrbench.data.stamps import file_of
from cxrbench.data.tables import is_empty
from cxrbench.errors import BadImageError, UserError
from cxrbench.files.names import plain, some


class Located(NamedTuple):
    """A file that a table names, or a row of an array file: what the file system says of it, and its bytes."""

    name: str
    facts: os.stat_result
    bytes: int


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


def _required(path: Path, names: Sequence[str], looked_at: Iterable[Located]) -> dict[str, File]:
    found = {one.name: File(one.name, one.bytes) for one in looked_at}
    if missing := [name for name in names if name not in found]:
        raise UserError(
            f"{path} names {len(missing):,} file(s) that are not there ({some(missing)}); paths are relative to "
            f"{path.parent}"
        )
    return found


def _distinct(path: Path, looked_at: Iterable[Located]) -> Iterator[Located]:
    """The same, until one file (or row of an array) comes under a second name."""
    first: dict[tuple[int, int, str], str] = {}
    for one in looked_at:
        name, facts = one.name, one.facts
        row = name[len(file_of(name)) :]
        if (before := first.setdefault((facts.st_dev, facts.st_ino, row), name)) != name:
            raise UserError(
                f"{path}: {plain(before)} and {plain(name)} are one file (a link leads from one to the other); give "
                "each image one row"
            )
        yield one


def _looked_at(folder: Path, names: Sequence[str]) -> Iterator[Located]:
    """The names that are files, in order, with what the file system says of them. UserError for no such row."""
    rows: dict[str, int] = {}
    for name in names:
        file = file_of(name)
        place = f"{folder}/{file}" if not file.startswith("/") else file
        try:
            facts = os.stat(place)
        except (OSError, ValueError):
            continue
        if not stat.S_ISREG(facts.st_mode):
            continue
        count = 1 if file == name else _rows_behind(Path(place), file, name, rows)
        yield Located(name, facts, facts.st_size // count)


def _rows_behind(path: Path, file: str, name: str, rows: dict[str, int]) -> int:
    """How many rows an array has, by file in ``rows`` once it was looked at. UserError if it has no such row."""
    try:
        count = rows[file] if file in rows else rows.setdefault(file, rows_of(path))
    except BadImageError as error:
        raise UserError(f"{plain(name)}: {error.reason}") from error
    number = name.removeprefix(f"{file}#")
    if not number.isdecimal() or int(number) >= count or str(int(number)) != number:
        raise UserError(f"{plain(name)}: {file} has {count:,} rows, called {plain(file)}#0 to #{max(count - 1, 0)}")
    return count
