"""The figures that the five papers print, cell by cell, as they print them.

``published/PAPER.csv`` has one row per printed cell, in the order in which the paper's text has them. Nothing is
rounded, converted or mended: where a paper disagrees with itself, both figures are here (docs/published-figures.md).
"""

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib.resources import files
from typing import Literal, get_args

from cxrbench.errors import UserError

PAPERS = ("spcl", "mvmae", "pacx", "radjepa", "fane")
"""Names of the papers: those of their methods."""
SHARES = (
    "auroc", "auprc", "f1", "accuracy", "brier", "dice", "iou", "map", "recall@5", "rouge-l", "bleu-4", "rg-er",
    "chexbert-f1-14",
)  # fmt: skip
"""Metrics that are shares of 1, which a paper prints as they are or in percent."""
Origin = Literal["own", "cited", "origin not stated"]
"""Whose a figure is: the paper's own, copied from another publication as the paper says, or it does not say."""
NUMBER = re.compile(r"~?([+–-]?)(\d+|\d{1,3}(?:,\d{3})+)(\.\d+)?(%| [kMB])?")
FACTORS = {"": 1.0, "%": 1.0, " k": 1e3, " M": 1e6, " B": 1e9}
NOT_NUMBERS = re.compile(r"~|✗|✓✓?|\d+²|\d+ ?× ?\d+")  # below 1%; verdicts; sides of images; maps x channels


@dataclass(frozen=True)
class PublishedValue:
    """One printed cell. Text as in the file; ``number`` and ``share`` are what it means.

    ``row`` is the method's name as printed (what else tells rows apart stands behind a comma), ``encoder`` our spec of
    it, empty where there is none; ``dataset``, ``protocol`` and ``metric`` have our names, ``label`` our data set's.
    Empty is: ``fraction`` all training data, ``label`` the aggregate, ``dataset`` none (costs, decoders, totals),
    ``spread``, ``n`` (images or studies tested) and ``split`` not printed.
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
    percent: bool = False
    """Whether the value is in percent of what we call the metric (or, of a difference, in percentage points)."""

    @property
    def number(self) -> float | None:
        """The value in the paper's unit; k, M and B multiplied out. None where no single number is printed."""
        found = NUMBER.fullmatch(self.value)
        if found is None:
            return None
        sign = -1.0 if found[1] in ("–", "-") else 1.0
        return sign * float(found[2].replace(",", "") + (found[3] or "")) * FACTORS[found[4] or ""]

    @property
    def share(self) -> float | None:
        """The value in our unit: of 1 where the paper prints percent, the paper's own else."""
        return None if self.number is None else self.number / 100 if self.percent else self.number

    @property
    def resolution(self) -> float:
        """Half a unit of the last printed digit, in the paper's unit: how far rounding may have moved it."""
        found = NUMBER.fullmatch(self.value)
        if found is None:
            return float("nan")
        return 0.5 * 10.0 ** -(len(found[3] or ".") - 1) * FACTORS[found[4] or ""]

    @property
    def difference(self) -> bool:
        """Whether the value is a difference of two encoders."""
        return self.row.startswith("Δ")

    @property
    def origin(self) -> Origin:
        """Whose figure it is."""
        behind = self.source.partition("; ")[2]
        return next((one for one in get_args(Origin) if one == behind), "own")


COLUMNS = tuple(field.name for field in fields(PublishedValue) if field.name != "percent")


@cache
def published(paper: str) -> tuple[PublishedValue, ...]:
    """Every printed cell of a paper, in its order. Raises UserError for a name that is not in ``PAPERS``."""
    if paper not in PAPERS:
        raise UserError(f"no figures of {paper!r} are kept: papers are {', '.join(PAPERS)}")
    file = files("cxrbench.papers").joinpath("published", f"{paper}.csv")
    return parse(file.read_text(encoding="utf-8"), paper, f"{paper}.csv")


def parse(text: str, paper: str, where: str) -> tuple[PublishedValue, ...]:
    """The cells of a CSV with ``COLUMNS``; ``where`` names it in errors.

    Raises UserError for other columns, a row of another paper, an empty table, row, protocol, metric, value or source,
    a value that is neither a number nor one of the marks papers print, a fraction or n that is no number, an unknown
    origin, and a cell that is there twice.
    """
    lines = csv.reader(io.StringIO(text))
    if tuple(header := next(lines, [])) != COLUMNS:
        raise UserError(f"{where}: the columns are {','.join(COLUMNS)}, not {','.join(header) or 'none'}")
    cells: dict[tuple[str, ...], PublishedValue] = {}
    for cells_of_line in lines:
        place = f"{where} line {lines.line_num}"
        if len(cells_of_line) != len(COLUMNS):
            raise UserError(f"{place}: {len(cells_of_line)} cells, not {len(COLUMNS)}: quote cells that hold commas")
        one = PublishedValue(*cells_of_line, percent=False)
        if problem := _problem(one, paper):
            raise UserError(f"{place}: {problem}")
        if (key := identity(one)) in cells:
            raise UserError(f"{place}: this cell is there already: {', '.join(part for part in key if part)}")
        cells[key] = one
    return tuple(_with_units(cells.values()))


def identity(one: PublishedValue) -> tuple[str, ...]:
    """What no two cells have in common."""
    split = one.split if one.protocol == "data" else ""  # sizes of splits; elsewhere a remark
    return (one.paper, one.table, one.row, one.dataset, one.protocol, one.fraction, one.metric, one.label, split)


def _problem(one: PublishedValue, paper: str) -> str:
    """What is wrong with a row; "" if nothing."""
    if one.paper != paper:
        return f"paper is {paper}, not {one.paper!r}"
    for name in ("table", "row", "protocol", "metric", "value", "source"):
        if not getattr(one, name):
            return f"{name} is empty"
    if padded := [name for name in COLUMNS if getattr(one, name) != getattr(one, name).strip()]:
        return f"{padded[0]} has blanks at an end"
    if one.number is None and not NOT_NUMBERS.fullmatch(one.value):
        return f"value {one.value!r} is neither a number nor a mark: write it as printed, digits and unit"
    if one.fraction and not re.fullmatch(r"0\.\d+|[1-9]\d*", one.fraction):
        return f"fraction {one.fraction!r} is neither a share (0.01) nor a number of studies (5000)"
    if one.n and not re.fullmatch(r"[1-9]\d*", one.n):
        return f"n {one.n!r} is no number of images"
    if (behind := one.source.partition("; ")[2]) not in ("", *get_args(Origin)):
        return f"origin {behind!r} is not one of {', '.join(get_args(Origin))}"
    return ""


def _with_units(cells: Iterable[PublishedValue]) -> Iterable[PublishedValue]:
    """The cells, with those in percent marked: a share above 1 in a table says that the table's are in percent."""
    cells = tuple(cells)
    percent = {
        (one.table, one.metric)
        for one in cells
        if not one.difference and (one.value.endswith("%") or (one.number or 0) > 1)
    }
    for one in cells:
        in_percent = one.metric in SHARES and (one.difference or (one.table, one.metric) in percent)
        yield replace(one, percent=in_percent)
