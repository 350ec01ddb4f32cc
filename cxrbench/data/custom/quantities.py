"""The numbers to be predicted in a user's CSV: what the sidecar names, ``regression:NAME`` columns, and a severity."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.attributes import years
from cxrbench.data.custom.columns import plain_name, prefixed
from cxrbench.data.custom.sidecar import Sidecar
from cxrbench.data.tables import Table, is_empty, is_number
from cxrbench.errors import UserError
from cxrbench.files.names import plain

BY_NAME = ("severity", "severity_score")
NEARLY = 0.75
"""A column known by its name whose filled cells are numbers from this share on is one, and any other cell a slip."""
FEWEST = 3
"""Different numbers from which a column that is known by its name is a quantity: of two it may be a label."""


class Quantities(NamedTuple):
    """Names, the columns that they are in, values [images, names] (NaN unknown), and what the reader decided."""

    names: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    values: NDArray[np.float32] = np.zeros((0, 0), np.float32)
    notes: tuple[str, ...] = ()


def find_quantities(path: Path, table: Table, columns: Mapping[str, str], sidecar: Sidecar) -> Quantities:
    """The quantities of a CSV. ``columns`` says which column has which role: an age may be written ``058Y``.

    Raises UserError for a column that is not there, a cell that is no number, and a column that is always the same.
    """
    named = {name: name for name in sidecar.regression}
    if absent := [name for name in named if name not in table]:
        raise UserError(
            f"{path.with_suffix('.toml')} names {plain(absent[0])!r} for regression; {path.name} has no such column"
        )
    found = prefixed(table, "regression") | named
    if not found:
        found = {name: name for name in table if plain_name(name) in BY_NAME and _is_quantity(path, name, table[name])}
    if not found:
        return Quantities(values=np.zeros((len(table[columns["image"]]), 0), np.float32))
    ages = columns.get("age")
    values = [_numbers(path, column, table[column], of_age=column == ages) for column in found.values()]
    return Quantities(
        tuple(found),
        tuple(found.values()),
        np.stack(values, axis=1),
        (f"Numbers to be predicted: {', '.join(found)}.",),
    )


def _is_quantity(path: Path, name: str, cells: Sequence[str]) -> bool:
    """Whether a column that is known by its name holds numbers. Raises UserError for one that nearly does."""
    filled = [cell for cell in cells if not is_empty(cell)]
    known = sum(map(is_number, filled))
    if NEARLY * len(filled) <= known < len(filled):
        row = next(row for row, cell in enumerate(cells) if not is_empty(cell) and not is_number(cell))
        raise UserError(
            f"{path} row {row + 2}: column {plain(name)} holds {plain(cells[row])!r} among numbers; mend it, or leave "
            f"it empty where unknown; if it is no number to be predicted, give the column another name"
        )
    return len({*filled}) >= FEWEST and known == len(filled)


def _numbers(path: Path, column: str, cells: Sequence[str], *, of_age: bool) -> NDArray[np.float32]:
    read = [years(cell) if of_age and not is_number(cell) else cell for cell in cells]
    row = next((n for n, (cell, number) in enumerate(zip(cells, read, strict=True))
                if not is_empty(cell) and not is_number(number)), None)  # fmt: skip
    if row is not None:
        raise UserError(
            f"{path} row {row + 2}: column {plain(column)} holds {plain(cells[row])!r}, where a number is to be "
            "predicted; mend it, or leave it empty where unknown"
        )
    values = np.array([np.nan if is_empty(cell) else float(cell) for cell in read], np.float32)
    if len(np.unique(values[~np.isnan(values)])) < 2:
        said = "is empty" if np.isnan(values).all() else f"is always {np.nanmax(values):g}"
        raise UserError(f"{path}: column {plain(column)} {said}: there is nothing to predict; leave it out")
    return values
