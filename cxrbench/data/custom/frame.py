"""A DataFrame as the text that a CSV of it would hold."""

from pathlib import PurePath
from typing import Any

import pandas as pd

from cxrbench.data.tables import Table, first_repeated
from cxrbench.errors import UserError


def table_of(frame: pd.DataFrame, where: str) -> Table:
    """The columns as text: "" for what is missing, 3 for 3.0. ``where`` names it in errors.

    The index is no column. Raises UserError for no rows, no columns, names of columns that are no text or come twice,
    and for a cell that holds several values.
    """
    if not len(frame.columns) or not len(frame):
        raise UserError(f"{where} has {len(frame)} rows and {len(frame.columns)} columns")
    if strange := [name for name in frame.columns if not isinstance(name, str)]:
        raise UserError(f"{where}: the column {strange[0]!r} has no name in text; rename it")
    names = [str(name).strip() for name in frame.columns]
    if twice := first_repeated(names):
        raise UserError(f"{where} has the column {twice[0]!r} twice")
    table = {}
    for name, (_, column) in zip(names, frame.items(), strict=True):
        cells = column.tolist()
        if (row := next((row for row, cell in enumerate(cells) if not _is_one(cell)), None)) is not None:
            what = f"column {name!r} holds a {type(cells[row]).__name__} in row {row + 2}"
            raise UserError(f"{where}: {what}: give text or numbers (images: files, or FILE.npy#ROW; names: a|b)")
        table[name] = list(map(_cell, cells))
    return table


def _is_one(value: Any) -> bool:
    """Whether a cell is one value, or nothing."""
    return value is None or isinstance(value, PurePath) or bool(pd.api.types.is_scalar(value))


def _cell(value: Any) -> str:
    if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
