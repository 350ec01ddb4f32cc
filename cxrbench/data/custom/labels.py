"""The labels in a user's CSV: a column of class names, or columns of 0 and 1."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.custom.columns import Sidecar
from cxrbench.data.datasets.layout import Table
from cxrbench.errors import UserError

VALUES = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0, "": np.nan, "-1": np.nan, "-1.0": np.nan}
UNCERTAIN = ("-1", "-1.0")
SEPARATOR = "|"


class Labels(NamedTuple):
    """Label names, targets [images, labels] (NaN unknown), kind, and what the reader decided on its own."""

    names: tuple[str, ...]
    targets: NDArray[np.float32]
    kind: Literal["multilabel", "multiclass"]
    notes: tuple[str, ...] = ()


def find_labels(path: Path, table: Table, columns: dict[str, str], sidecar: Sidecar) -> Labels:
    """Labels of a CSV; ``columns`` says which column has which role. UserError where there are none, and no masks.

    A ``label`` column that holds more than 0 and 1 gives the labels: one class per image (multiclass) or several
    joined by ``|`` (multilabel). Otherwise every other column that holds only 0, 1, -1 (uncertain) and empty cells is
    a label, if it is not constant; the sidecar's ``labels`` is taken as it is.
    """
    classes = columns.get("label")
    if not sidecar.labels and classes and (sidecar.label or not _is_binary(table[classes])):
        ignored = [name for name in table if name not in columns.values()]
        labels = _from_names(path, classes, table[classes], sidecar.kind)
        return labels._replace(notes=(*labels.notes, *_ignored(ignored)))
    roles = {column for role, column in columns.items() if role != "label"}
    names = _named(path, table, sidecar.labels) or [
        name for name in table if name not in roles and _is_binary(table[name]) and not _is_constant(table[name])
    ]
    if not names and "mask" in columns:  # masks are truth enough
        ignored = [name for name in table if name not in roles]
        return Labels((), np.zeros((len(table[columns["mask"]]), 0), np.float32), "multilabel", _ignored(ignored))
    if not names:
        raise UserError(
            f"{path} has no labels: give a column 'label' with class names, or columns of 0 and 1 (empty: unknown), or "
            f"list them in {path.with_suffix('.toml').name}"
        )
    cells = np.array([table[name] for name in names])
    targets = np.array([[VALUES[cell] for cell in table[name]] for name in names], np.float32).T
    uncertain = [name for name, row in zip(names, cells, strict=True) if np.isin(row, UNCERTAIN).any()]
    notes = (f"-1 is taken as unknown in {', '.join(uncertain)}.",) if uncertain else ()
    ignored = [name for name in table if name not in roles and name not in names]
    if sidecar.kind == "multiclass":
        if (torn := np.flatnonzero(~(np.nansum(targets, 1) == 1) | np.isnan(targets).any(1))).size:
            raise UserError(
                f"{path} row {torn[0] + 2}: a multiclass image has exactly one 1 among its labels and no gap"
            )
        return Labels(tuple(names), targets, "multiclass", (*notes, *_ignored(ignored)))
    return Labels(tuple(names), targets, "multilabel", (*notes, *_ignored(ignored)))


def _from_names(path: Path, column: str, cells: Sequence[str], kind: str | None) -> Labels:
    """One label per distinct name, in alphabetical order."""
    several = any(SEPARATOR in cell for cell in cells)
    if several and kind == "multiclass":
        raise UserError(
            f"{path}: column {column} has several classes in one cell, which a multiclass dataset cannot have"
        )
    found = [{part.strip() for part in cell.split(SEPARATOR)} - {""} for cell in cells]
    names = tuple(sorted(set().union(*found)))
    if not names or (len(names) < 2 and not several and kind != "multilabel"):
        raise UserError(f"{path}: column {column} has only {len(names)} class(es); a task needs two")
    if len(names) > max(50, len(cells) // 4):
        raise UserError(f"{path}: column {column} has {len(names):,} different values, too many for classes")
    targets = np.array([[name in parts for name in names] for parts in found], np.float32)
    if several or kind == "multilabel":
        return Labels(names, targets, "multilabel")
    empty = [row for row, parts in enumerate(found) if not parts]
    if empty:
        raise UserError(f"{path} row {empty[0] + 2} has no class in column {column}; name one or remove the row")
    return Labels(names, targets, "multiclass")


def _named(path: Path, table: Table, names: Sequence[str]) -> list[str]:
    """The sidecar's label columns, which must be there and hold only 0, 1, -1 and empty cells."""
    for name in names:
        if name not in table:
            raise UserError(
                f"{path.with_suffix('.toml')} names the label {name!r}, which {path.name} has no column for"
            )
        if bad := next((cell for cell in table[name] if cell not in VALUES), None):
            raise UserError(f"{path}: label column {name} holds {bad!r}; use 1, 0 or an empty cell")
    return list(names)


def _is_binary(cells: Sequence[str]) -> bool:
    return all(cell in VALUES for cell in cells)


def _is_constant(cells: Sequence[str]) -> bool:
    return len({VALUES[cell] for cell in cells if cell not in ("", *UNCERTAIN)}) < 2


def _ignored(names: Sequence[str]) -> tuple[str, ...]:
    return (f"Columns not used: {', '.join(names)}.",) if names else ()
