"""What a results folder holds that can be exchanged, and where each kind lies."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cxrbench.files.atomic import is_temporary
from cxrbench.files.records import read_record
from cxrbench.files.seal import check
from cxrbench.predictions import read_header

Kind = Literal["cells", "not applicable", "manifests", "encoders", "requests", "aggregates", "packs"]
DEPTH: dict[str, int] = {"cells": 5, "manifests": 2, "encoders": 2, "requests": 2, "aggregates": 2, "packs": 2}
RENAMING = "renaming.json"
"""What is kept of a renaming until it is done (``renaming.py``)."""
LIVING = ("leases", "failures", "slurm", "ray", RENAMING)
"""What goes on here, or has failed here, and what workers wrote: of no use to anybody else."""


@dataclass(frozen=True)
class StoredFile:
    """A file of a store. ``at``: its parts below the store's folder."""

    kind: Kind
    path: Path
    at: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """What it says of itself, its checksum looked at: a header or a record. Raises DamagedError, UserError."""
        if self.kind == "cells":
            return read_header(self.path)
        if self.kind == "manifests":
            check(self.path)
            return {}
        return read_record(self.path)


def stored_files(root: Path) -> Iterator[StoredFile]:
    """Every file that can be exchanged, in a fixed order; of links and of what others have put there nothing."""
    for top, depth in DEPTH.items():
        for path in sorted((root / top).glob("/".join(["*"] * (depth - 1)))):
            at = path.relative_to(root).parts
            if path.is_file() and not path.is_symlink() and not is_temporary(path) and (kind := _kind(at)):
                yield StoredFile(kind, path, at)


def foreign_files(root: Path) -> list[str]:
    """What else lies in a results folder, but for leases, failures and logs: names below it."""
    ours = {file.path for file in stored_files(root)}
    found = (path for path in sorted(root.rglob("*")) if path.is_file() and path not in ours)
    return [
        str(at) for path in found if (at := path.relative_to(root)).parts[0] not in LIVING and not is_temporary(path)
    ]


def _kind(at: tuple[str, ...]) -> Kind | None:
    suffix = Path(at[-1]).suffix
    if at[0] == "cells":
        kinds: dict[str, Kind] = {".parquet": "cells", ".json": "not applicable"}
        return kinds.get(suffix)
    wanted = ".parquet" if at[0] == "manifests" else ".json"
    found: Any = at[0] if suffix == wanted else None
    return found
