"""Which published figure stands in which cell of a paper's table."""

from collections.abc import Iterable, Sequence

from cxrbench.papers.paper import MACRO, PaperCell, PaperTable
from cxrbench.papers.published import PublishedValue, published

SIGNIFICANCE = "significance"
"""The metric of published check marks, whatever metric the test was of."""


def of_table(paper: str, table: PaperTable, cells: Sequence[PaperCell]) -> dict[PaperCell, PublishedValue]:
    """The figures of a table by its cells; a cell of which the paper prints nothing is not there."""
    return placed((one for one in published(paper) if one.table == table.number), table, cells)


def placed(
    values: Iterable[PublishedValue], table: PaperTable, cells: Sequence[PaperCell]
) -> dict[PaperCell, PublishedValue]:
    """The figures of one table by its cells."""
    by_key = {_key(one): one for one in values}
    found = {}
    for cell in cells:
        metric = SIGNIFICANCE if table.kind == "marks" else cell.metric
        label = "" if cell.label == MACRO else cell.label
        key = (cell.named, cell.dataset, metric, label, cell.fraction, cell.split)
        if key in by_key:
            found[cell] = by_key[key]
    return found


def _key(one: PublishedValue) -> tuple[str, str, str, str, float, str]:
    """A share of 1 and the whole are the same; a split tells only counts of data apart."""
    split = one.split if one.protocol == "data" else ""
    label = one.label.replace("top-", "top")  # our groups of the most frequent labels: top5
    return one.row, one.dataset, one.metric, label, float(one.fraction or 1), split
