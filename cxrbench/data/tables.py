"""Tables of text as people have them: a CSV, a list of names, JSON; damage and odd encodings are said in one line."""

import csv
import gzip
import io
import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from cxrbench.errors import UserError
from cxrbench.files.names import plain

Table = dict[str, list[str]]
"""Columns of text by name, all of one length; an empty cell is ""."""

EMPTY = frozenset({"", "nan", "na", "n/a", "none", "null", "<na>"})
"""What programs write for "no value", in lower case."""
CHUNK = 20_000  # rows: what is held as rows before it becomes columns
WIDE = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*")  # how PNG, JPEG and TIFF begin
NUMBER = re.compile(r"(\d+)\.0+")
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


def is_empty(cell: str) -> bool:
    """Whether a cell says that there is no value: blank, nan, NA, N/A, None, null."""
    return cell.lower() in EMPTY


def is_number(cell: str) -> bool:
    """Whether a cell is a finite number, with a decimal point."""
    try:
        return math.isfinite(float(cell)) and "_" not in cell
    except ValueError:
        return False


def identifier(cell: str) -> str:
    """An identifier as it was meant: pandas writes 50000000.0 for 50000000 where a column had gaps."""
    whole = NUMBER.fullmatch(cell)
    return whole[1] if whole else cell


def first_repeated(names: Sequence[str]) -> tuple[str, int, int] | None:
    """The first name that comes again, with the numbers (from 0) of both places; None where all differ. Linear."""
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        if (before := first.setdefault(name, number)) != number:
            return name, before, number
    return None


def read_text(path: Path) -> str:
    """A text file in UTF-8, with or without a byte-order mark, gunzipped if its name ends in ``.gz``.

    Raises UserError for a missing or unreadable file, and for another encoding, with the line where it shows.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error})") from error
    if content.startswith(PICTURES) or content[128:132] == b"DICM":
        raise UserError(f"{path} is an image, where a table is wanted: give the CSV file that names the images")
    for mark, encoding in WIDE:
        if content.startswith(mark):
            raise UserError(f"{path} is text in {encoding}: save it in UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path} line {line} is not UTF-8 (Latin-1 or Windows-1252, perhaps): save the file in UTF-8"
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UserError(f"{path} line {line} has a NUL character: the file is damaged, or not text in UTF-8")
    return text


class Separated(NamedTuple):
    """A table as text, and what separates its cells."""

    table: Table
    separator: str


def read_table(path: Path) -> Table:
    """The table of ``read_separated``."""
    return read_separated(path).table


def read_separated(path: Path) -> Separated:
    """Read a CSV (``read_text`` says in which encodings). Blanks around names and cells are stripped.

    A table whose header has semicolons or tabs and no comma is separated by those; with semicolons a decimal comma
    (``0,5``) becomes a point. Time and memory grow with the file's length, not faster. One column may have no name:
    pandas writes its index so. Raises UserError for what ``read_text`` refuses, a repeated column, a row of the wrong
    length, and quotes that never close or close in the middle of a cell.
    """
    text = read_text(path)
    separator = _separator(text)
    rows = _reader(text, separator)
    try:
        names = [name.strip() for name in next(rows, [])]
        columns: list[list[str]] = [[] for _ in names]
        known: dict[str, str] = {}  # most cells of a table repeat: one string for all of them
        while chunk := list(islice(rows, CHUNK)):
            chunk = [row for row in chunk if row]
            if any(len(row) != len(names) for row in chunk):
                raise _ragged(path, text, separator, len(names))
            for column, cells in zip(columns, zip(*chunk, strict=True), strict=False):
                column += [known.setdefault(cell, cell) for cell in map(str.strip, cells)]
    except csv.Error as error:
        raise UserError(
            f"{path} line {rows.line_num} cannot be read as a CSV ({error}): look for quotes that are not in pairs"
        ) from error
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated or not names:
        raise UserError(f"{path} has the column {plain(repeated[0])!r} twice" if repeated else f"{path} is empty")
    if separator == ";":
        point = {cell: cell.replace(",", ".") for cell in known if DECIMAL_COMMA.fullmatch(cell)}
        columns = [[point.get(cell, cell) for cell in column] for column in columns] if point else columns
    return Separated(dict(zip(names, columns, strict=True)), separator)


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises UserError for one that is damaged, nested without end, or ambiguous: an object
    with a key twice.
    """
    try:
        return json.loads(read_text(path), object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON ({plain(str(error))})") from error


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of a JSON file, of which a key that comes again would hide the first."""
    found = dict(pairs)
    if len(found) < len(pairs) and (twice := first_repeated([key for key, _ in pairs])):
        raise ValueError(f"an object has the key {plain(twice[0])!r} twice")
    return found


def _separator(text: str) -> str:
    """What separates the cells: a comma, unless the first line has none and has semicolons or tabs."""
    header = re.sub('"[^"]*"', "", text.lstrip("\r\n").partition("\n")[0])
    return next((mark for mark in ",;\t" if mark in header), ",")


def _reader(text: str, separator: str) -> Any:
    return csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)


def _ragged(path: Path, text: str, separator: str, width: int) -> UserError:
    """The error for the first row of another length than the header."""
    rows = _reader(text, separator)
    for row in rows:
        if row and len(row) != width:
            return UserError(f"{path} line {rows.line_num} has {len(row)} cells, its header {width}")
    raise AssertionError("a row of another length was seen before")
