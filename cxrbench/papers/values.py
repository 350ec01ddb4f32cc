"""The figures that papers print, with their places: ``published/PAPER.csv``."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from cxrbench.papers.paper import MACRO, PaperCell, PaperTable


@dataclass(frozen=True)
class PublishedValue:
    """One printed figure, in the paper's own unit and precision.

    ``fraction``: as printed, empty for all; ``label``: empty for the aggregate; ``spread``: what stands beside it;
    ``n``: test images; ``split``: in words; ``source``: its place.
    """

    paper: str
    table: str
    row: str
    encoder: str
    dataset: str
    protocol: str
    fraction: str
    metric: str
    label: str
    value: str
    spread: str
    n: str
    split: str
    source: str


@cache
def published(paper: str) -> tuple[PublishedValue, ...]:
    """The figures of a paper; none where there is no file yet."""
    file = files("cxrbench.papers") / "published" / f"{paper}.csv"
    if not file.is_file():
        return ()
    lines = file.read_text(encoding="utf-8").splitlines()
    return tuple(PublishedValue(**row) for row in csv.DictReader(lines))


def of_cell(values: Iterable[PublishedValue], table: PaperTable, cell: PaperCell) -> PublishedValue | None:
    """What the paper prints in a cell; None where it prints nothing, or it is not known here."""
    place = table.columns[cell.column] if table.rows[cell.row].encoder else table.rows[cell.row]
    labels = {"", MACRO} if cell.label == MACRO else {cell.label, place.name, table.rows[cell.row].name}
    for one in values:
        if (
            one.row == cell.named
            and one.dataset == cell.dataset
            and one.metric == cell.metric
            and one.label in labels
            and share(one.fraction) == cell.fraction
        ):
            return one
    return None


def of_table(paper: str, table: PaperTable, cells: Sequence[PaperCell]) -> dict[PaperCell, PublishedValue]:
    """The figures of a table by its cells."""
    here = [one for one in published(paper) if one.table == table.number]
    found = {cell: of_cell(here, table, cell) for cell in cells}
    return {cell: one for cell, one in found.items() if one is not None}


def share(text: str) -> float:
    """A printed fraction as a number: ``1%`` is 0.01, ``20k`` is 20,000, empty is 1."""
    text = text.strip().lower().replace(",", "")
    if not text:
        return 1.0
    if text.endswith("%"):
        return float(text[:-1]) / 100
    return float(text[:-1]) * 1000 if text.endswith("k") else float(text)
