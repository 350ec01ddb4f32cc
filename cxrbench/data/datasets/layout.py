"""A dataset's folder as downloaded: its files and tables, and an error that helps when one is not there."""

import csv
import gzip
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrbench.errors import UserError

SHOWN = 3

Table = dict[str, list[str]]
"""Columns of text by name, all of one length; an empty cell is ""."""


class File(NamedTuple):
    """A file of a dataset: its path below the root, with ``/``, and its size in bytes."""

    path: str
    bytes: int


@dataclass(frozen=True)
class Layout:
    """Reads the files of one official layout; every error names the dataset, its source and its terms."""

    title: str
    root: Path
    source: str
    licence: str

    def error(self, what: str) -> UserError:
        """What is wrong, where, and where the data comes from."""
        return UserError(f"{self.title} in {self.root}: {what}. Source: {self.source}. Terms: {self.licence}")

    def first(self, *names: str) -> Path:
        """The first of these files that exists."""
        if not self.root.is_dir():
            raise self.error("there is no such folder")
        for name in names:
            if (self.root / name).is_file():
                return self.root / name
        raise self.error(f"file {' or '.join(names)} is missing")

    def table(self, path: Path, columns: Sequence[str]) -> Table:
        """A CSV as text, in which ``columns`` must be."""
        try:
            table = read_table(path)
        except UserError as error:
            raise self.error(str(error)) from error
        missing = [name for name in columns if name not in table]
        if missing:
            raise self.error(f"{path.name} lacks the column(s) {', '.join(missing)}; it has {', '.join(table)}")
        if not table[columns[0]]:
            raise self.error(f"{path.name} has no rows")
        return table

    def files(self, folders: Iterable[str], extensions: Sequence[str], *, parts: int = 1) -> dict[str, File]:
        """All files with these extensions in or below the folders ("": the root), by name without extension.

        ``parts``: how much of the path is the name: 1 is the file's own, 3 is ``patient00001/study1/view1_frontal``.
        """
        found: dict[str, File] = {}
        for folder in folders:
            for path, entry in _walk(self.root / folder, folder):
                whole, extension = os.path.splitext(path)
                if extension.lower() not in extensions:
                    continue
                stem = "/".join(whole.split("/")[-parts:])
                if stem in found:
                    raise self.error(f"image {stem} is there twice, {found[stem].path} and {path}; remove one")
                found[stem] = File(path, entry.stat().st_size)
        return found

    def require(self, ids: Iterable[str], files: Mapping[str, File], where: str) -> None:
        """Every id must have its image file; the error names the first few that have not."""
        absent = [name for name in ids if name not in files]
        if absent:
            raise self.error(
                f"{len(absent):,} image(s) of {where} have no file ({some(absent)}); complete the download, or for a "
                "subset keep only the rows of the images that you have"
            )

    def numbers(self, table: Table, column: str, where: str) -> NDArray[np.float64]:
        """A column as floats; empty cells are NaN, anything else that is no number an error."""
        try:
            return np.array([cell or "nan" for cell in table[column]], np.float64)
        except ValueError as error:
            raise self.error(f"column {column} of {where} is not all numbers ({error})") from error


def read_table(path: Path) -> Table:
    """Read a CSV in UTF-8 (with or without a byte-order mark, gzipped if its name ends so).

    Blanks around names and cells are stripped.

    Raises UserError for a missing file, another encoding, a repeated or nameless column, or a row of the wrong length.
    """
    try:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8-sig", newline="") as handle:
            rows = csv.reader(handle, skipinitialspace=True)
            names = [name.strip() for name in next(rows, [])]
            columns: list[list[str]] = [[] for _ in names]
            for row in rows:
                if not row:
                    continue
                if len(row) != len(names):
                    raise UserError(f"{path} line {rows.line_num} has {len(row)} cells, its header {len(names)}")
                for column, cell in zip(columns, row, strict=True):
                    column.append(cell.strip())
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except (OSError, EOFError, zlib.error, UnicodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as a CSV in UTF-8 ({error})") from error
    repeated = [name for name in names if names.count(name) > 1]
    if repeated or not names:
        raise UserError(f"{path} has the column {repeated[0]!r} twice" if repeated else f"{path} is empty")
    return dict(zip(names, columns, strict=True))


def image_table(
    ids: Sequence[str],
    files: Mapping[str, File],
    *,
    patients: Sequence[str],
    splits: Sequence[str] | NDArray[np.str_],
    views: Sequence[str],
    labels: Sequence[str],
    targets: NDArray[np.float32],
    studies: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The manifest's image table from aligned columns and ``targets`` [images, labels].

    Without ``studies`` each image is its own study.
    """
    return pd.DataFrame({
        "image_id": list(ids),
        "patient_id": list(patients),
        "study_id": list(ids if studies is None else studies),
        "view": list(views),
        "split": [str(split) for split in splits],
        "path": [files[name].path for name in ids],
        "bytes": [files[name].bytes for name in ids],
        **{name: targets[:, column].astype(np.float32) for column, name in enumerate(labels)},
    })  # fmt: skip


def subset_note(found: int, official: int, what: str) -> tuple[str, ...]:
    """A note where fewer (or more) images are there than were published."""
    return () if found == official else (f"{found:,} {what}; the published set has {official:,}.",)


def some(names: Sequence[str]) -> str:
    """The first few of a list of names."""
    return ", ".join([*names[:SHOWN], *(["..."] if len(names) > SHOWN else [])])


def _walk(folder: Path, name: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Files below a folder called ``name``, each with its path; hidden ones and a missing folder are passed over."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = f"{name}/{entry.name}" if name else entry.name
            if entry.is_dir():
                yield from _walk(Path(entry.path), path)
            else:
                yield path, entry
