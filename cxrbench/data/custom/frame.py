"""A DataFrame as the text that a CSV of it would hold."""

from collections.abc import Hashable
from typing import Any

import pandas as pd

from cxrbench.data.tables import Table
from cxrbench.errors import UserError


def table_of(frame: pd.DataFrame, where: str) -> Table:
    """The columns as text: "" for what is missing, 3 for 3.0. ``where`` names it in errors.

    The index is no column. Raises UserError for no rows, no columns, names of columns that are no text or come twice.
    """
    if not len(frame.columns) or not len(frame):
        raise UserError(f"{where}: the DataFrame has {len(frame)} rows and {len(frame.columns)} columns")
    names: list[Hashable] = list(frame.columns)
    if strange := [name for name in names if not isinstance(name, str)]:
        raise UserError(f"{where}: the column {strange[0]!r} has no name in text; rename it")
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{where} has the column {twice[0]!r} twice")
    return {str(name).strip(): [_cell(value) for value in frame[name].tolist()] for name in names}


def _cell(value: Any) -> str:
    if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
