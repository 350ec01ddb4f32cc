"""A dataset's folder as downloaded: its files and tables, and an error that helps when one is not there."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrbench.data.annotations.boxes import check_areas, check_inside, cut_to_images, image_sizes
from cxrbench.data.tables import Table, first_repeated, is_empty, is_number, read_table, read_text
from cxrbench.errors import UserError
from cxrbench.files.names import plain, some

COLUMNS, COLUMN = 6, 40  # how many column names a message shows, and how much of one
BINARY = {"1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0, "true": 1.0, "false": 0.0}


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
            raise self.error(f"{path.name} lacks the column(s) {_several(missing)}; it has {_several(list(table))}")
        if not table[columns[0]]:
            raise self.error(f"{path.name} has no rows")
        return table

    def lines(self, path: Path) -> list[str]:
        """The words of a text file, such as an official list of images."""
        return self.text(path).split()

    def text(self, path: Path) -> str:
        """A text file in UTF-8."""
        try:
            return read_text(path)
        except UserError as error:
            raise self.error(str(error)) from error

    def files(self, folders: Iterable[str], extensions: Sequence[str], *, parts: int = 1) -> dict[str, File]:
        """All files with these extensions in or below the folders ("": the root), by name without extension.

        With "" among the extensions any other file is taken by its whole name: a UID has dots, but no extension.
        ``parts``: how much of the path is the name: 1 is the file's own, 3 is ``patient00001/study1/view1_frontal``.
        """
        found: dict[str, File] = {}
        for folder in folders:
            for path, entry in _walk(self.root / folder, folder):
                whole, extension = os.path.splitext(path)
                if extension.lower() not in extensions:
                    if "" not in extensions:
                        continue
                    whole = path
                stem = "/".join(whole.split("/")[-parts:])
                if stem in found:
                    raise self.error(f"image {stem} is there twice, {found[stem].path} and {path}; remove one")
                try:
                    found[stem] = File(path, entry.stat().st_size)
                except OSError as error:
                    raise self.error(f"{path} cannot be looked at ({error.strerror})") from error
        return found

    def listed(self, folder: str) -> dict[str, File]:
        """The files right in a folder, by their whole names; none where there is no such folder."""
        try:
            with os.scandir(self.root / folder) as entries:
                return {e.name: File(f"{folder}/{e.name}", e.stat().st_size) for e in entries if e.is_file()}
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise self.error(f"{folder} cannot be looked at ({error.strerror})") from error

    def require(self, ids: Iterable[str], files: Mapping[str, File], where: str) -> None:
        """Every id must have its image file; the error names the first few that have not."""
        absent = [name for name in ids if name not in files]
        if absent:
            raise self.error(
                f"{len(absent):,} image(s) of {where} have no file ({some(absent)}); complete the download, or for a "
                "subset keep only the rows of the images that you have"
            )

    def unique(self, ids: Sequence[str], where: str) -> None:
        """No image may come twice in a table of images."""
        if twice := first_repeated(ids):
            raise self.error(f"{where} has an image twice: {some(twice[:1])}")

    def numbers(self, table: Table, column: str, where: str) -> NDArray[np.float64]:
        """A column as finite floats; empty cells are NaN, anything else that is no number an error."""
        cells = dict.fromkeys(table[column])
        if odd := [cell for cell in cells if not (is_empty(cell) or is_number(cell))]:
            raise self.error(f"column {column} of {where} is not all numbers: it has {some(odd)}")
        return np.array(["nan" if is_empty(cell) else cell for cell in table[column]], np.float64)

    def binary(self, table: Table, columns: Sequence[str], where: str) -> NDArray[np.float32]:
        """Columns of 1 and 0 (or 1.0, True, ...) as targets [rows, columns]; anything else is an error, blanks too."""
        for column in columns:
            odd = [cell for cell in dict.fromkeys(table[column]) if cell.lower() not in BINARY]
            if odd:
                raise self.error(f"{where} has {plain(odd[0])!r} in column {column}; known are 1 and 0")
        return np.array([[BINARY[cell.lower()] for cell in table[column]] for column in columns], np.float32).T

    def sizes(self, files: Mapping[str, File]) -> dict[str, tuple[int, int]]:
        """Height and width of images, from their headers; masks need them, so one that cannot be read is an error."""
        found = image_sizes({name: self.root / file.path for name, file in files.items()})
        if unread := [name for name in files if name not in found]:
            raise self.error(f"{len(unread):,} image(s) cannot be read, and masks need their sizes: {some(unread)}")
        return found

    def check_boxes(self, boxes: pd.DataFrame, files: Mapping[str, File], where: str) -> None:
        """Boxes must be plausible: in pixels, with an area, and within their images, whose headers say how large."""
        path = self.root / where
        check_areas(boxes, str(path))
        names = sorted(set(boxes["image_id"]))
        check_inside(boxes, image_sizes({name: self.root / files[name].path for name in names}), str(path))

    def cut_boxes(
        self, boxes: pd.DataFrame, sizes: Mapping[str, tuple[int, int]], where: str
    ) -> tuple[pd.DataFrame, tuple[str, ...]]:
        """The boxes cut at the edges of their images (``sizes``: height and width), with a note where one was cut."""
        try:
            boxes, notes = cut_to_images(boxes, sizes, where)
            check_areas(boxes, where)
        except UserError as error:
            raise self.error(str(error)) from error
        return boxes, notes


def _several(columns: Sequence[str]) -> str:
    """Names of columns on a short line. Without its header a table's first row, which is a patient's, stands there."""
    shown = [name if len(name) <= COLUMN else f"{name[: COLUMN - 3]}..." for name in map(plain, columns[:COLUMNS])]
    more = len(columns) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


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


def joined_parts(
    layout: Layout, parts: Sequence[pd.DataFrame], labels: Sequence[str]
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The images of a training and a test table, and the labels of which the test table has both sides.

    Raises UserError where an image is in both.
    """
    training, test = parts
    if twice := set(training["image_id"]) & set(test["image_id"]):
        raise layout.error(f"image {min(twice)} is in both the training and the test table")
    means = test[list(labels)].to_numpy(np.float32).mean(0)
    tested = tuple(name for name, mean in zip(labels, means, strict=True) if 0 < mean < 1)
    return pd.concat(parts, ignore_index=True), tested


def subset_note(found: int, official: int, what: str) -> tuple[str, ...]:
    """A note where fewer (or more) images are there than were published."""
    return () if found == official else (f"{found:,} {what}; the published set has {official:,}.",)


def _walk(folder: Path, name: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Files below a folder called ``name``, each with its path; hidden ones and a missing folder are passed over.

    Links to folders are followed, but for those that lead back to a folder that they lie in.
    """
    todo = [(str(folder), name)] if os.path.isdir(folder) else []
    while todo:
        place, prefix = todo.pop()
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                path = f"{prefix}/{entry.name}" if prefix else entry.name
                if not entry.is_dir():
                    yield path, entry
                elif not (entry.is_symlink() and _leads_back(entry.path)):
                    todo.append((entry.path, path))


def _leads_back(link: str) -> bool:
    """Whether a link points to a folder that it lies in."""
    target = os.path.realpath(link)
    return os.path.commonpath([target, os.path.realpath(os.path.dirname(link))]) == target
