"""A user's own dataset as a DataFrame: the same columns, the same rules as a CSV, read from memory."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from cxrbench.data.custom.columns import Sidecar, sidecar_of
from cxrbench.data.custom.dataset import by_image, manifest_of
from cxrbench.data.manifest import Manifest
from cxrbench.data.tables import Table
from cxrbench.errors import UserError
from cxrbench.files.names import is_folder_name, plain

ATTRIBUTE = "cxrbench"
"""``frame.attrs["cxrbench"]`` may say what ``labels.toml`` says beside a CSV."""


def read_frame(frame: pd.DataFrame, name: str | None, root: Path) -> Manifest:
    """Read a DataFrame as ``read_csv`` reads the CSV that it would be saved as.

    ``name``: what the dataset is called; None: as ``frame.attrs["cxrbench"]`` says, else ``dataframe-`` and the first
    eight digits of a hash of its content, so that another frame is another dataset. ``root``: the folder that image
    paths are relative to. An index with a name counts as a column, any other does not. Raises UserError.
    """
    table = as_text(frame)
    said = frame.attrs.get(ATTRIBUTE, {})
    if not isinstance(said, Mapping):
        raise UserError(f'frame.attrs["{ATTRIBUTE}"] is {plain(repr(said))}: give a dict of what labels.toml may say')
    called = name or said.get("name") or f"dataframe-{_digest(table)[:8]}"
    if not isinstance(called, str) or not is_folder_name(called) or set(called) & set(",:"):
        raise UserError(f"a DataFrame cannot be called {called!r}: that must do as a folder's name, without : and ,")
    path = root.absolute() / f"DataFrame {called}.csv"
    try:
        sidecar: Sidecar = sidecar_of(path.with_suffix(".toml"), {**said, "name": called})
        sidecar = replace(sidecar, source=sidecar.source or "a DataFrame")
        return manifest_of(path, by_image(path, table, sidecar), sidecar)
    except UserError as error:  # it names a file that is not there; rows count from 2, as in a CSV below its header
        told = str(error)
        for file, what in ((path.with_suffix(".toml"), f'frame.attrs["{ATTRIBUTE}"]'), (path, f"DataFrame {called}")):
            told = told.replace(str(file), what).replace(file.name, what)
        raise UserError(told) from error


def as_text(frame: pd.DataFrame) -> Table:
    """Columns of text by name, as a CSV of the frame would have them; a missing value is "". Raises UserError."""
    if any(level is not None for level in frame.index.names):
        frame = frame.reset_index()
    names = [str(name).strip() for name in frame.columns]
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError(f"the DataFrame has the column {plain(repeated[0])!r} twice")
    if not names or not len(frame):
        raise UserError("the DataFrame is empty: give it a row per image, with a column 'image' of their paths")
    return {name: [_cell(value) for value in frame.iloc[:, at].tolist()] for at, name in enumerate(names)}


def _cell(value: Any) -> str:
    """One value as text: whole numbers without a point, True and False as 1 and 0."""
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return "" if math.isnan(value) else str(int(value)) if value.is_integer() else repr(value)
    return str(value).strip()


def _digest(table: Table) -> str:
    return hashlib.sha256(json.dumps(table).encode()).hexdigest()
