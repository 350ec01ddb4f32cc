"""Whether two files that have one place in a store say the same, and if not, in what they differ."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxrbench.data.attributes import attributes
from cxrbench.data.manifest import Manifest
from cxrbench.exchange.store_files import StoredFile
from cxrbench.predictions import Predictions

COUNTED = ("parameters", "gflops_per_image", "width")
"""What an encoder costs whatever the machine; images per second are of one machine."""
AGREED = ("labels", "kind", "groups", "synthetic")


def difference(one: StoredFile, other: StoredFile) -> str | None:
    """Why two files cannot both be kept under one name; None where the first says all that the other does.

    When and where something was made, how fast, and what a machine's folders are called is no difference.
    """
    if one.kind != other.kind:
        return "one has predictions, of the other its encoder could not be asked"
    if one.path.read_bytes() == other.path.read_bytes():
        return None
    if one.kind == "cells":
        return _of_cells(one.path, other.path)
    if one.kind == "manifests":
        return _of_manifests(one.path, other.path)
    mine, theirs = one.facts(), other.facts()
    if one.kind == "not applicable":
        return _of_identity(mine["cell"], theirs["cell"])
    if one.kind == "encoders":
        differ = [name for name in COUNTED if mine.get(name) != theirs.get(name)]
        return f"another {', '.join(differ)}" if differ else None
    if one.kind == "requests":
        return None  # the name is the digest of what was asked
    return "another content"


def _of_identity(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> str | None:
    """Which parts of the identity differ."""
    if mine["identity"] == theirs["identity"]:
        return None
    was, now = mine["parts"], theirs["parts"]
    differ = [part for part in {**was, **now} if was.get(part) != now.get(part)]
    return f"another {', '.join(differ) or 'identity'}"


def _of_cells(mine: Path, theirs: Path) -> str | None:
    one, other = Predictions.load(mine), Predictions.load(theirs)
    if why := _of_identity(one.cell, other.cell):
        return why
    if differ := [name for name in AGREED if getattr(one, name) != getattr(other, name)]:
        return f"the same identity and another {', '.join(differ)}"
    a, b = (rows.sort_values("image_id", ignore_index=True, kind="stable") for rows in (one.rows, other.rows))
    if set(a.columns) != set(b.columns) or len(a) != len(b) or a["image_id"].tolist() != b["image_id"].tolist():
        return "the same identity and other rows or columns"
    differ = [str(name) for name in a.columns if not _equal(pd.Series(a[name]), pd.Series(b[name]))]
    if not differ:
        return None
    largest = max((_largest(pd.Series(a[name]), pd.Series(b[name])) for name in differ), default=0.0)
    return f"the same identity and other bits in {len(differ)} columns" + f" (by up to {largest:.2g})" * bool(largest)


def _largest(a: pd.Series, b: pd.Series) -> float:
    """By how much two columns of numbers differ at most; 0 of anything else, and where all that differs is unknown."""
    if not (pd.api.types.is_numeric_dtype(a.dtype) and pd.api.types.is_numeric_dtype(b.dtype)):
        return 0.0
    return float(np.nanmax(np.abs(a.to_numpy(np.float64) - b.to_numpy(np.float64)), initial=0.0))


def _equal(a: pd.Series, b: pd.Series) -> bool:
    """To the bit; of lists, one by one."""
    if a.dtype != object and b.dtype != object:
        return a.equals(b)
    return all(
        np.array_equal(x, y) if isinstance(x, np.ndarray) or isinstance(y, np.ndarray) else x == y or (x is y)
        for x, y in zip(a.tolist(), b.tolist(), strict=True)
    )


def _of_manifests(mine: Path, theirs: Path) -> str | None:
    """Their rows are the same if their fingerprints are; what is known of patients is no part of these."""
    one, other = Manifest.load(mine), Manifest.load(theirs)
    if one.fingerprint != other.fingerprint:
        return "another fingerprint"
    known, new = attributes(one.images), attributes(other.images)
    if not set(new.columns) <= set(known.columns):
        return "it knows more of the patients" if set(known.columns) < set(new.columns) else "it knows other things"
    differ = [str(name) for name in new.columns if not known[name].equals(new[name].reindex(known.index))]
    return f"another {', '.join(differ)} of patients" if differ else None
