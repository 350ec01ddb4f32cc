"""What there is to choose from: installed encoders, datasets and protocols, and a user's own datasets."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cxrbench.plugins.listing import Listing

OWN_TABLES = {"labels.csv": "your own CSV", "manifest.parquet": "a prepared copy"}
"""What makes a folder of the data folder a dataset, and what it is called then."""


def list_encoders(*, check: bool = False) -> "list[Listing]":
    """A line per installed encoder. ``check``: import each one to see whether it can be (takes seconds)."""
    from cxrbench.plugins.listing import list_encoders

    return list_encoders(check=check)


def list_datasets(*, check: bool = False) -> "list[Listing]":
    """A line per dataset that can be read, as ``list_encoders``."""
    from cxrbench.plugins.listing import list_datasets

    return list_datasets(check=check)


def list_tasks(*, check: bool = False) -> "list[Listing]":
    """A line per protocol, as ``list_encoders``."""
    from cxrbench.plugins.listing import list_tasks

    return list_tasks(check=check)


def own_datasets(data: Path, known: Collection[str]) -> list[tuple[str, str]]:
    """Datasets of the data folder that are none of ``known``: their names, and what each is."""
    return [
        (path.parent.name, what)
        for table, what in OWN_TABLES.items()
        for path in sorted(data.glob(f"*/{table}"))
        if path.parent.name not in known
    ]
