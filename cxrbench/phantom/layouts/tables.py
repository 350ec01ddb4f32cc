"""Tables as the official downloads have them: comma-separated, with Unix line ends."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

TableRows = list[list[Any]]


def write_csv(path: Path, header: list[str], rows: Iterable[list[Any]]) -> None:
    """A comma-separated table with Unix line ends."""
    with open(path, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
