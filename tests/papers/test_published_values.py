"""Published figures find their cells."""

import csv
from dataclasses import fields
from pathlib import Path

import pytest

import cxrbench.papers
from cxrbench.papers.paper import cells
from cxrbench.papers.read import paper_names, read_paper
from cxrbench.papers.values import PublishedValue, of_cell, of_table, published, share

FOLDER = Path(cxrbench.papers.__file__).parent / "published"


@pytest.mark.parametrize(
    ("text", "number"), [("", 1), ("1%", 0.01), ("10 %".replace(" ", ""), 0.1), ("0.01", 0.01), ("20k", 20_000),
                         ("5,000", 5_000), ("100%", 1)],
)  # fmt: skip
def test_a_printed_fraction_is_a_number(text: str, number: float) -> None:
    assert share(text) == pytest.approx(number)


def test_a_figure_finds_the_cell_of_its_row_data_metric_fraction_and_label() -> None:
    table = read_paper("radjepa").table("3")
    assert table is not None
    blank = dict.fromkeys((field.name for field in fields(PublishedValue)), "")
    said = {**blank, "paper": "radjepa", "table": "3", "row": "RadJEPA", "dataset": "vindr", "metric": "auprc"}
    values = [
        PublishedValue(**{**said, "label": "Cardiomegaly", "value": "72.6"}),
        PublishedValue(**{**said, "value": "55.2"}),
        PublishedValue(**{**said, "row": "RAD-DINO", "value": "52.8"}),
    ]
    by_place = {(cell.row, cell.column): of_cell(values, table, cell) for cell in cells(table)}
    found = {place: one.value for place, one in by_place.items() if one is not None}
    assert found == {(9, 1): "72.6", (9, 6): "55.2", (6, 6): "52.8"}


def test_a_paper_without_figures_has_none() -> None:
    assert published("nobody") == ()


@pytest.mark.parametrize("paper", paper_names())
def test_every_figure_of_a_table_that_is_run_stands_in_a_cell(paper: str) -> None:
    if not (FOLDER / f"{paper}.csv").is_file():
        pytest.skip(f"published/{paper}.csv is not there yet")
    with (FOLDER / f"{paper}.csv").open() as lines:
        assert csv.DictReader(lines).fieldnames == [field.name for field in fields(PublishedValue)]
    for table in read_paper(paper).tables:
        if cells(table):
            known = [one for one in published(paper) if one.table == table.number]
            placed = of_table(paper, table, cells(table))
            lost = [one for one in known if one not in placed.values()]
            assert lost == [], f"{paper} table {table.number}"
