"""The labels in a user's CSV: a column of class names, or columns of 0 and 1."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.custom.columns import PREFIXED, ROLE_NAMES, plain_name
from cxrbench.data.custom.sidecar import Sidecar
from cxrbench.data.manifest import MACRO, RESERVED
from cxrbench.data.tables import Table, is_empty, is_number
from cxrbench.errors import UserError
from cxrbench.files.names import plain

NUMBERS = {"0": 0.0, "1": 1.0, "-1": np.nan}
WORDS = {"True and False": {"false": 0.0, "true": 1.0}, "yes and no": {"no": 0.0, "yes": 1.0}}
"""Words that stand for 1 and 0 in a column that has no others."""
ANY = NUMBERS | {word: value for words in WORDS.values() for word, value in words.items()}
UNCERTAIN = "-1"
SEPARATOR = "|"
NONE = "No labels"
ADVICE = "to have some, give a column 'label' with class names, or columns of 0 and 1 (empty: unknown), or list them in"
FEWEST_ROWS = 10
"""Names from which a column in which none comes twice holds no classes."""
NEARLY = 0.75
"""A column whose filled cells are 0, 1 and -1 from this share on is a label, and any other cell in it a slip."""


class Labels(NamedTuple):
    """Label names, targets [images, labels] (NaN unknown), kind, and what the reader decided on its own."""

    names: tuple[str, ...]
    targets: NDArray[np.float32]
    kind: Literal["multilabel", "multiclass"]
    notes: tuple[str, ...] = ()


class LabelColumn(NamedTuple):
    """A column read as a label: ``values`` (NaN unknown), or the first cell that is none (``row`` counts from 0).

    ``share``: how many of the filled cells are values. ``uncertain``: a -1 is among them. ``words``: which words they
    are, of ``WORDS``; "" for numbers.
    """

    values: NDArray[np.float32]
    row: int | None
    share: float
    uncertain: bool
    words: str

    @property
    def constant(self) -> bool:
        """Not both 0 and 1 are among the values."""
        return len(np.unique(self.values[~np.isnan(self.values)])) < 2


def find_labels(
    path: Path, table: Table, columns: dict[str, str], sidecar: Sidecar, others: Collection[str] = ()
) -> Labels:
    """Labels of a CSV; ``columns`` says which column has which role. None is an answer, too, with a note that says why.

    A ``label`` column that holds more than 0 and 1 gives the labels: one class per image (multiclass) or several
    joined by ``|`` (multilabel). Otherwise every other column that holds only 0, 1, -1 (uncertain) and empty cells
    (``tables.EMPTY``), or True and False, or yes and no, is a label, if it is not constant; the sidecar's ``labels`` is
    taken as it is. A cell that is something else in a column which is nearly such a label is an error with its row.
    ``others``: columns that are known to be something else.
    """
    classes = columns.get("label")
    if not sidecar.labels and classes:
        column = read_column(table[classes])
        if sidecar.label or column.row is not None:
            _refuse_slip(path, classes, table[classes], column, sidecar)
            ignored = [name for name in table if name not in columns.values() and name not in others]
            labels = _from_names(path, classes, table[classes], sidecar.kind)
            return _checked(path, labels._replace(notes=(*labels.notes, *_ignored(ignored))))
    roles = {column for role, column in columns.items() if role != "label"} | {*others}
    found = _named(path, table, sidecar.labels) or _unnamed(path, table, roles, sidecar)
    ignored = [name for name in table if name not in roles and name not in found]
    if not found:
        why = (f"{NONE}{_why_not(table, ignored)}; {ADVICE} {path.with_suffix('.toml').name}.",) if ignored else ()
        return Labels((), np.zeros((len(table[columns["image"]]), 0), np.float32), "multilabel", why)
    targets = np.stack([column.values for column in found.values()], axis=1)
    said = {"-1 is taken as unknown": [name for name, column in found.items() if column.uncertain]}
    for words in WORDS:
        said[f"{words} are taken as 1 and 0"] = [name for name, column in found.items() if column.words == words]
    notes = [f"{what} in {', '.join(map(plain, names))}." for what, names in said.items() if names]
    torn = np.flatnonzero(~(np.nansum(targets, 1) == 1) | np.isnan(targets).any(1))
    if sidecar.kind == "multiclass" and torn.size:
        raise UserError(f"{path} row {torn[0] + 2}: a multiclass image has exactly one 1 among its labels and no gap")
    kind = "multiclass" if sidecar.kind == "multiclass" else "multilabel"
    return _checked(path, Labels(tuple(found), targets, kind, (*notes, *_ignored(ignored))))


def read_column(cells: Sequence[str]) -> LabelColumn:
    """Read a column as a label, whether or not it is one. A column of True and False alone means 1 and 0."""
    counts = Counter(cell for cell in cells if not is_empty(cell))
    words = next((name for name, of in WORDS.items() if counts and all(cell.lower() in of for cell in counts)), "")
    meaning = {cell: _value(cell, WORDS[words] if words else NUMBERS) for cell in counts}
    known = sum(count for cell, count in counts.items() if _value(cell, ANY) is not None)
    row = next((row for row, cell in enumerate(cells) if cell in counts and meaning[cell] is None), None)
    values = np.array([np.nan if (value := meaning.get(cell)) is None else value for cell in cells], np.float32)
    uncertain = any(value is not None and np.isnan(value) for value in meaning.values())
    return LabelColumn(values, row, known / max(1, counts.total()), uncertain, words)


def _value(cell: str, known: Mapping[str, float]) -> float | None:
    """What a filled cell says as a label: 1, 0, NaN (uncertain), or None where it is no such value."""
    whole = cell.rstrip("0").removesuffix(".") if "." in cell else cell  # 1.0 and 1. are 1
    return known.get((whole or "0").lower())


def _unnamed(path: Path, table: Table, roles: set[str], sidecar: Sidecar) -> dict[str, LabelColumn]:
    """The columns that are labels by what they hold. One that has the name of something else is none."""
    found: dict[str, LabelColumn] = {}
    for name, cells in table.items():
        if name in roles or not name or _is_something_else(name):
            continue
        column = read_column(cells)
        if column.row is not None:
            _refuse_slip(path, name, cells, column, sidecar)
        elif not column.constant:
            found[name] = column
    return found


def _is_something_else(name: str) -> bool:
    """Whether a column's name is that of something which is no label."""
    head, colon, _ = name.partition(":")
    return plain_name(name) in ROLE_NAMES or (colon != "" and plain_name(head.strip()) in PREFIXED)


def _refuse_slip(path: Path, name: str, cells: Sequence[str], column: LabelColumn, sidecar: Sidecar) -> None:
    """Raise UserError for a column that would be a label but for a few cells."""
    if column.row is not None and column.share >= NEARLY and not sidecar.label:
        raise UserError(
            f"{path} row {column.row + 2}: column {plain(name)} holds {plain(cells[column.row])!r} among 0 and 1; mend "
            f"it, or leave it empty where unknown; if it is meant, say in {path.with_suffix('.toml').name} which "
            "columns are labels (labels = [...]), or which holds class names (label = ...)"
        )


def _why_not(table: Table, names: Sequence[str]) -> str:
    """Why the first few columns are no labels, in brackets."""
    reasons = []
    for name in names[:3]:
        column = read_column(table[name])
        if column.row is not None:
            reasons.append(f"column {plain(name)} holds {plain(table[name][column.row])!r} in row {column.row + 2}")
        elif not name or _is_something_else(name):
            reasons.append(f"column {plain(name)!r} has the name of something else")
        elif np.isnan(column.values).all():
            reasons.append(f"column {plain(name)} is empty")
        else:
            reasons.append(f"column {plain(name)} is always {np.nanmax(column.values):g}")
    return f" ({'; '.join(reasons)}{'; ...' if len(names) > 3 else ''})" if reasons else ""


def _checked(path: Path, labels: Labels) -> Labels:
    """Labels whose names a manifest can hold."""
    if taken := sorted(set(labels.names) & set(RESERVED)):
        raise UserError(
            f"{path}: a label cannot be called {taken[0]!r}, which every dataset has a column for; rename it"
        )
    if MACRO in labels.names:
        raise UserError(f"{path}: a label cannot be called {MACRO!r}, which is the mean over labels; rename it")
    return labels


def _from_names(path: Path, column: str, cells: Sequence[str], kind: str | None) -> Labels:
    """One label per distinct name, in alphabetical order."""
    several = any(SEPARATOR in cell for cell in cells)
    if several and kind == "multiclass":
        raise UserError(
            f"{path}: column {column} has several classes in one cell, which a multiclass dataset cannot have"
        )
    split = {
        cell: frozenset(p for part in cell.split(SEPARATOR) if not is_empty(p := part.strip())) for cell in set(cells)
    }
    found = [split[cell] for cell in cells]
    names = tuple(sorted(frozenset().union(*split.values())))
    if not names or (len(names) < 2 and not several and kind != "multilabel"):
        raise UserError(f"{path}: column {column} has only {len(names)} class(es); a task needs two")
    once = len(names) >= FEWEST_ROWS and sum(map(len, found)) == len(names)
    if once or len(names) > max(50, len(cells) // 4):
        advice = f"; text: findings = {column!r} in {path.with_suffix('.toml').name}" if once else ""
        if is_number(next(cell for cell in cells if not is_empty(cell))):
            advice = f"; numbers to be predicted: regression = [{column!r}] in {path.with_suffix('.toml').name}"
        raise UserError(f"{path}: column {column} has {len(names):,} different values, too many for classes{advice}")
    targets = np.array([[name in parts for name in names] for parts in found], np.float32)
    if several or kind == "multilabel":
        return Labels(names, targets, "multilabel")
    empty = [row for row, parts in enumerate(found) if not parts]
    if empty:
        raise UserError(
            f"{path} row {empty[0] + 2} has no class in column {column} ({plain(cells[empty[0]])!r}); name one or "
            "remove the row"
        )
    return Labels(names, targets, "multiclass")


def _named(path: Path, table: Table, names: Sequence[str]) -> dict[str, LabelColumn]:
    """The sidecar's label columns, which must be there and hold only 0, 1, -1 and empty cells."""
    found: dict[str, LabelColumn] = {}
    for name in names:
        if name not in table:
            raise UserError(
                f"{path.with_suffix('.toml')} names the label {plain(name)!r}, which {path.name} has no column for"
            )
        found[name] = read_column(table[name])
        if (row := found[name].row) is not None:
            raise UserError(
                f"{path} row {row + 2}: label column {plain(name)} holds {plain(table[name][row])!r}; use 1, 0 or an "
                "empty cell"
            )
    return found


def _ignored(names: Sequence[str]) -> tuple[str, ...]:
    return (f"Columns not used: {', '.join(map(plain, names))}.",) if names else ()
