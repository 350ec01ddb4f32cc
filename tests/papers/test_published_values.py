"""Published figures find their cells: none is lost, and none is in another unit than the table's."""

import pytest

from cxrbench.papers.paper import PaperTable, cells, printed_cells
from cxrbench.papers.published import published
from cxrbench.papers.read import paper_names, read_paper
from cxrbench.papers.values import of_table, placed

TABLES = [(name, table) for name in paper_names() for table in read_paper(name).tables]


@pytest.mark.parametrize(("paper", "table"), TABLES, ids=lambda one: getattr(one, "number", one))
def test_every_printed_figure_stands_in_one_cell_in_the_tables_unit(paper: str, table: PaperTable) -> None:
    known = [one for one in published(paper) if one.table == table.number]
    found = of_table(paper, table, [*cells(table), *printed_cells(table)])
    assert len(known) > 0
    assert sorted(one.source + one.value for one in found.values()) == sorted(one.source + one.value for one in known)
    for cell in cells(table) if table.kind == "values" else ():
        if cell in found and found[cell].number is not None:
            assert found[cell].percent == (cell.scale == 100), cell


def test_a_figure_finds_the_cell_of_its_row_data_metric_fraction_and_label() -> None:
    table = read_paper("radjepa").table("3")
    assert table is not None
    wanted = {"RadJEPA": ["72.6", "55.2"], "RAD-DINO": ["69.9", "52.8"]}  # cardiomegaly, and the mean, as printed
    of_vindr = [one for one in published("radjepa") if one.table == "3" and one.dataset == "vindr"]
    found = {(cell.named, cell.column): one.value for cell, one in placed(of_vindr, table, cells(table)).items()}
    assert {row: [found[row, 1], found[row, 6]] for row in wanted} == wanted
    assert {column for _, column in found} == set(range(7))
