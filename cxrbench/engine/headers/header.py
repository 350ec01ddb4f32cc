"""The head of one cell's file: who the cell is and how it was made, without its rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrbench.files.records import read_record
from cxrbench.files.seal import DamagedError
from cxrbench.predictions import NotApplicable, read_header

PREDICTIONS, REASON = ".parquet", ".json"


@dataclass(frozen=True)
class CellHeader:
    """``facts``: what a file says of its cell, as Predictions or (``reason``: why there are none) NotApplicable do.

    Facts may be shared with other headers: nobody changes them.
    """

    facts: Mapping[str, Any]
    reason: str | None = None

    @property
    def not_applicable(self) -> NotApplicable:
        """The cell of a header with a reason."""
        assert self.reason is not None
        return NotApplicable(self.facts["cell"], self.reason, self.facts["synthetic"])


ReadHeader = Callable[[Path], CellHeader | None]
"""The header of the cell whose predictions would lie at a path; None where it was not computed."""


def header_at(path: Path) -> CellHeader | None:
    """A ReadHeader that asks the files. Raises DamagedError, and UserError for a file of another version."""
    for file in (path.with_suffix(REASON), path):
        try:
            return header_in(file)
        except FileNotFoundError:  # not computed, or replaced by the other one just now
            continue
    return None


def header_in(file: Path) -> CellHeader:
    """What one file says, all of it checked. Raises FileNotFoundError, DamagedError, UserError."""
    if file.suffix == PREDICTIONS:
        return CellHeader(read_header(file))
    try:
        found = NotApplicable(**read_record(file))
    except TypeError as error:
        raise DamagedError(file, "another version of cxrbench wrote it") from error
    return CellHeader({"cell": found.cell, "synthetic": found.synthetic}, found.reason)
