"""Cells that failed, as the results folder remembers them: the traceback, how often, where and when.

``failures/DATASET/PROTOCOL/ENCODER/fraction-F-seed-S.json``, sealed; gone as soon as the cell is there.
"""

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cxrbench.engine.results import Results
from cxrbench.errors import DiskError
from cxrbench.files.atomic import writing
from cxrbench.files.records import read_record, write_record
from cxrbench.files.seal import DamagedError
from cxrbench.task import Cell

DEATHS = 5  # workers that ended at a thing, one after the other, before it is given up: more than chance would end
LONGEST = 50_000  # characters of a traceback: the end of a longer one is kept, which says what was raised


@dataclass(frozen=True)
class FailedCell:
    """``cell``: its encoder, dataset, protocol, fraction, seed and identity. ``reason``: one line. ``trace``: the
    traceback of the last attempt. ``attempts``: how many there were. ``host``, ``date`` (UTC): of the last.
    """

    cell: Mapping[str, Any]
    reason: str
    trace: str
    attempts: int
    host: str
    date: str


def failure_path(results: Results, cell: Cell) -> Path:
    """Where it is kept that a cell failed."""
    return results.root / "failures" / results.path(cell).relative_to(results.root / "cells").with_suffix(".json")


def failure_of(results: Results, cell: Cell) -> FailedCell | None:
    """How a cell has failed; None if it has not, was another one by then (its encoder has changed), or is damaged."""
    try:
        found = _read(failure_path(results, cell))
    except (FileNotFoundError, DamagedError):
        return None
    return found if found.cell.get("identity") == cell.identity else None


def record_failure(results: Results, cell: Cell, reason: str, trace: str) -> FailedCell:
    """Keep that a cell has failed once more. For who holds its lease, or is alone. Raises DiskError."""
    before = failure_of(results, cell)
    facts = {name: getattr(cell, name) for name in ("encoder", "dataset", "protocol", "fraction", "seed", "identity")}
    date = datetime.now(UTC).isoformat(timespec="seconds")
    attempts = 1 + (before.attempts if before else 0)
    found = FailedCell(facts, reason, trace[-LONGEST:], attempts, platform.node(), date)
    write_record(failure_path(results, cell), asdict(found))
    return found


def record_deaths(results: Results, cell: Cell, reason: str, retries: int) -> None:
    """Keep that a cell is given up, for it has ended workers, who could count no attempt. Raises DiskError."""
    while record_failure(results, cell, reason, "").attempts <= retries:
        pass


def forget_failure(results: Results, cell: Cell) -> None:
    """A cell is there now, or is to be tried as if it never was. Raises DiskError."""
    path = failure_path(results, cell)
    with writing(path.parent):
        path.unlink(missing_ok=True)


def load_failures(root: Path) -> list[FailedCell]:
    """All failures of a results folder, in a fixed order; a damaged file, which the next attempt replaces, is none."""
    found = []
    for path in sorted((root / "failures").glob("*/*/*/fraction-*-seed-*.json")):
        try:
            found.append(_read(path))
        except (FileNotFoundError, DamagedError):
            continue
    return found


def _read(path: Path) -> FailedCell:
    """Raises FileNotFoundError, DamagedError."""
    try:
        return FailedCell(**read_record(path))
    except TypeError as error:
        raise DamagedError(path, "another version of cxrbench wrote it") from error
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise DiskError(f"cannot read {path}: {error.strerror or error}; mend the folder and run again") from error
