"""Headers of many cells in one file, what they share written once; with each, what its own file looked like then.

Cells of one encoder say the same of the encoder, cells of one data set the same of the data: of 25 KB in a header a few
hundred bytes are its own. What is shared (``SHARED``) is kept as text beside the table and named by number in it.
"""

import json
import marshal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from cxrbench.engine.headers.header import CellHeader
from cxrbench.errors import UserError
from cxrbench.files.seal import check
from cxrbench.files.tables import write_sealed_table
from cxrbench.predictions import FORMAT as PREDICTIONS_FORMAT

FORMAT = [1, PREDICTIONS_FORMAT]
METADATA_KEY = b"cxrbench.headers"
SHARED = (
    ("cell", "parts"), ("cell", "fixed_images"), ("made", "versions"),
    ("encoder",), ("dataset",), ("labels",), ("groups",), ("notes",),
)  # fmt: skip
PLAIN = 2  # version of marshal that writes a value as it is, wherever its parts are used beside
ABSENT = -1  # in place of a number, where a header says nothing of it


class FileLook(NamedTuple):
    """What a file looks like from outside: bytes, times of its content and of its entry in ns, and its number.

    A file that is replaced has another number, one that is written to other times, even where somebody sets the first.
    """

    size: int
    modified: int
    changed: int
    inode: int


class Row(NamedTuple):
    """A header: what its file looked like, what is its own (JSON), and the numbers of what it shares."""

    look: FileLook
    own: str
    reason: str | None
    numbers: tuple[int, ...]


@dataclass
class HeaderTable:
    """Headers by the path of their files below a root. ``texts``: what they share, by number."""

    rows: dict[str, Row] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    _number_of: dict[str, int] = field(default_factory=dict)
    _known: dict[bytes, int] = field(default_factory=dict)
    _values: dict[int, Any] = field(default_factory=dict)

    def add(self, path: str, look: FileLook, header: CellHeader) -> CellHeader:
        """Take the header of a file that looks so, in place of an earlier one. The same, sharing its parts."""
        if len(self._number_of) != len(self.texts):
            self._number_of = {text: number for number, text in enumerate(self.texts)}
        facts: dict[str, Any] = {name: dict(v) if name in ("cell", "made") else v for name, v in header.facts.items()}
        numbers = []
        for place in SHARED:
            holder = _holder(facts, place)
            numbers.append(self._number(holder.pop(place[-1])) if place[-1] in holder else ABSENT)
        self.rows[path] = Row(look, json.dumps(facts), header.reason, tuple(numbers))
        return self._whole(facts, self.rows[path])

    def header(self, path: str, look: FileLook) -> CellHeader | None:
        """The header of a file that looks so; None where it is not known, or looked otherwise then."""
        row = self.rows.get(path)
        if row is None or row.look != look:
            return None
        return self._whole(json.loads(row.own), row)

    def save(self, place: Path) -> None:
        """Write the file. Raises UserError if the disk will not."""
        used = sorted({number for row in self.rows.values() for number in row.numbers} - {ABSENT})
        again = {ABSENT: ABSENT, **{number: new for new, number in enumerate(used)}}
        rows = list(self.rows.values())
        table = pa.table(
            {
                "path": pa.array(list(self.rows), pa.string()),
                **{
                    name: pa.array([row.look[k] for row in rows], pa.int64()) for k, name in enumerate(FileLook._fields)
                },
                "own": pa.array([row.own for row in rows], pa.string()),
                "reason": pa.array([row.reason for row in rows], pa.string()),
                "numbers": pa.array([[again[n] for n in row.numbers] for row in rows], pa.list_(pa.int32())),
            }
        )
        facts = json.dumps({"format": FORMAT, "shared": [self.texts[number] for number in used]})
        write_sealed_table(place, table, {METADATA_KEY: facts.encode()})

    def _whole(self, own: dict[str, Any], row: Row) -> CellHeader:
        """A header from what is its own and what it shares."""
        for place, number in zip(SHARED, row.numbers, strict=True):
            if number != ABSENT:
                _holder(own, place)[place[-1]] = self._value(number)
        return CellHeader(own, row.reason)

    def _number(self, value: Any) -> int:
        """Of what is shared: that of its text, which is written once only, for half of it is long."""
        key = marshal.dumps(value, PLAIN)
        if key not in self._known:
            text = json.dumps(value)
            self._known[key] = self._number_of.setdefault(text, len(self.texts))
            if self._known[key] == len(self.texts):
                self.texts.append(text)
        return self._known[key]

    def _value(self, number: int) -> Any:
        """What is shared, one object for all who share it."""
        if number not in self._values:
            self._values[number] = json.loads(self.texts[number])
        return self._values[number]


def load(place: Path) -> HeaderTable:
    """What ``save`` wrote; nothing where there is no such file, or it is damaged, or of another version."""
    try:
        check(place)
        with pq.ParquetFile(place) as file:
            facts = json.loads((file.schema_arrow.metadata or {})[METADATA_KEY])
            if facts["format"] != FORMAT:
                return HeaderTable()
            columns = file.read(use_threads=False).to_pydict()
        looks = map(FileLook, *(columns[name] for name in FileLook._fields))
        rows = map(Row, looks, columns["own"], columns["reason"], map(tuple, columns["numbers"]))
        return HeaderTable(dict(zip(columns["path"], rows, strict=True)), facts["shared"])
    except (OSError, UserError, pa.ArrowException, KeyError, ValueError, TypeError):
        return HeaderTable()


def _holder(facts: dict[str, Any], place: tuple[str, ...]) -> dict[str, Any]:
    """The object that holds, or is to hold, what has this place in a header's facts."""
    return facts if len(place) == 1 else facts.get(place[0], {})
