"""A DataFrame that a program hands over as a dataset: what it is called, and what it says beside its rows."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from cxrbench.data.custom.dataset import read_frame
from cxrbench.data.custom.frame import table_of
from cxrbench.data.custom.sidecar import sidecar_of
from cxrbench.data.manifest import Manifest
from cxrbench.errors import UserError
from cxrbench.files.names import is_folder_name, plain

ATTRIBUTE = "cxrbench"
"""``frame.attrs["cxrbench"]`` may say what ``labels.toml`` says beside a CSV."""


def read_named_frame(frame: pd.DataFrame, name: str | None, root: Path) -> Manifest:
    """``read_frame`` of a frame that has a name, or gets one.

    ``name``: what the dataset is called; None: as ``frame.attrs["cxrbench"]`` says, else ``dataframe-`` and the first
    eight digits of a hash of its content, so that another frame is another dataset. ``root``: the folder that image
    paths are relative to. Raises UserError.
    """
    said = frame.attrs.get(ATTRIBUTE, {})
    if not isinstance(said, Mapping):
        raise UserError(f'frame.attrs["{ATTRIBUTE}"] is {plain(repr(said))}: give a dict of what labels.toml may say')
    called = name or said.get("name") or f"dataframe-{_digest(frame)[:8]}"
    if not isinstance(called, str) or not is_folder_name(called) or set(called) & set(",:+"):
        raise UserError(f"a DataFrame cannot be called {called!r}: that must do as a folder's name, without : , +")
    file = root.absolute() / f"{called}.csv"
    try:
        sidecar = sidecar_of(file.with_suffix(".toml"), {**said, "name": called})
        return read_frame(frame, root, replace(sidecar, source=sidecar.source or "a DataFrame"))
    except UserError as error:  # it names a CSV and a TOML file that are not there
        told = str(error)
        for path, what in ((file.with_suffix(".toml"), f'frame.attrs["{ATTRIBUTE}"]'), (file, f"DataFrame {called}")):
            told = told.replace(str(path), what).replace(path.name, what)
        raise UserError(told) from error


def _digest(frame: pd.DataFrame) -> str:
    return hashlib.sha256(json.dumps(table_of(frame, "the DataFrame")).encode()).hexdigest()
