"""The papers' files against lists taken from the papers: tables, figures, rows, columns; and what they name exists."""

import re
from pathlib import Path

import pytest

from cxrbench.data.datasets.segmentation import covid_qu_ex
from cxrbench.errors import UserError
from cxrbench.metrics.kinds import KINDS
from cxrbench.papers.paper import PaperTable, cells, datasets
from cxrbench.papers.read import paper_names, parsed, read_paper
from cxrbench.papers.runs import table_runs
from cxrbench.papers.values import of_table
from cxrbench.tasks.presets.recipes import parse

SHAPES = {
    # Rows and columns as printed, beside the column of the rows' names and of what describes them (backbone, decoder).
    "spcl": {"1": (7, 11), "2": (3, 6), "3": (1, 15), "4": (4, 6)},
    "mvmae": {
        "1": (6, 8), "2": (6, 8), "3": (5, 4), "4": (4, 7), "5": (14, 5), "6": (14, 5), "7": (14, 5), "8": (4, 4),
    },
    "pacx": {"1": (18, 4), "2": (2, 6), "3": (6, 6)},
    "radjepa": {"1": (6, 4), "2": (12, 4), "3": (10, 9), "4": (12, 5), "5": (24, 6), "6": (15, 6)},
    "fane": {"1": (11, 12), "2": (12, 9), "3": (3, 6), "4": (2, 6), "5": (4, 6), "6": (3, 5), "7": (7, 3)},
}  # fmt: skip
NOT_RUN = {("mvmae", "4"), ("radjepa", "1"), ("radjepa", "2"), ("radjepa", "5"), ("fane", "7")}
"""Counts of data, facts of encoders, and report generation: everything else is measured."""
FIGURES = {
    "spcl": ["2", "3"],
    "mvmae": ["3", "4", "5", "8", "9", "10", "11"],
    "pacx": ["2", "3", "4", "5"],
    "radjepa": [],
    "fane": ["4", "5"],
}
"""The figures that show results; drawings of methods are none."""
DATASETS = {
    "vindr", "rsna", "siim", "nih", "mimic", "chexpert", "chexpert-plus", "padchest", "symile", "covidx", "object-cxr",
    "vindr-ribcxr", "mimic-lungs", "shenzhen", "chexchonet", "chestx6", "medmod", "cxlseg", "covid-qu-ex", "qata",
}  # fmt: skip
TABLES = [(name, table) for name in SHAPES for table in read_paper(name).tables]


def test_every_table_and_figure_of_the_papers_is_there_in_their_shape() -> None:
    assert paper_names() == sorted(SHAPES)
    for name, shapes in SHAPES.items():
        paper = read_paper(name)
        assert {t.number: (len(t.rows), len(t.columns)) for t in paper.tables} == shapes, name
        assert [figure.number for figure in paper.figures] == FIGURES[name]


@pytest.mark.parametrize(("name", "table"), TABLES, ids=lambda one: getattr(one, "number", one))
def test_a_table_names_data_metrics_and_presets_that_there_are(name: str, table: PaperTable) -> None:
    known = {metric for kind in KINDS.values() for metric in kind.measures}
    assert {cell.metric for cell in cells(table)} <= known
    assert set(datasets(table)) <= DATASETS
    assert len({(cell.row, cell.column) for cell in cells(table)}) == len(cells(table))
    for run in table_runs(table):
        if "preset" in run.settings:
            assert parse(run.settings["preset"]).name == read_paper(name).preset
    assert (table.kind == "none") == ((name, table.number) in NOT_RUN) == (not cells(table))
    assert table.kind == "none" or table.says, "what the paper prints is not said"


@pytest.mark.parametrize("name", SHAPES)
def test_an_encoder_is_named_or_it_is_said_why_not(name: str) -> None:
    for encoder in read_paper(name).encoders.values():
        assert bool(encoder.spec or encoder.phantom or encoder.yours) != bool(encoder.why), encoder
        assert encoder.spec or encoder.why or f"--encoder '{encoder.name}=" in encoder.absence


def test_the_page_of_the_papers_has_the_command_of_every_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "papers.md").read_text()
    for name, tables in SHAPES.items():
        section = page.split(f"\n## {read_paper(name).title}\n")[1].split("\n## ")[0]
        first = [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("|")]
        shown = {number for cell in first for number in re.findall(r"\d+", cell.partition(":")[0])}
        assert shown >= {*tables, *FIGURES[name]}, name
        assert f"`cxrbench paper {name} --table {max(tables)}`" in section


def test_cells_are_the_products_of_rows_and_columns() -> None:
    table = read_paper("radjepa").table("3")
    assert table is not None
    found = {(c.row, c.column): c for c in cells(table)}
    assert len(found) == 90
    one = found[9, 1]
    assert (one.encoder, one.task, one.metric, one.label) == (
        "RadJEPA", "vindr:classification", "auprc", "Cardiomegaly",
    )  # fmt: skip
    assert (found[9, 6].label, found[9, 8].metric, found[9, 8].dataset) == ("macro", "auroc", "rsna")


def test_a_mark_stands_where_row_and_column_meet() -> None:
    table = read_paper("radjepa").table("6")
    assert table is not None
    pairs = {(table.rows[c.row].name, table.columns[c.column].name) for c in cells(table)}
    assert pairs >= {("LO", "V-AP"), ("AUC", "RSNA"), ("L-Zone", "MIM-S"), ("Rib", "V-Rib")}
    assert len(pairs) == 11


def test_a_table_that_is_wrong_is_told_in_one_line() -> None:
    table = {
        "number": "1", "title": "t", "rows": [{"encoder": "A"}],
        "columns": [{"dataset": "nih", "protocol": "knn", "metric": "auroc"}],
    }  # fmt: skip
    whole = {"title": "P", "source": "s", "preset": "spcl", "encoders": {"A": {"spec": "random"}}, "tables": [table]}
    assert len(parsed("p", whole).tables) == 1
    for change, what in (
        ({"tables": [{**table, "colums": []}]}, "colums"),
        ({"tables": [{**table, "statistic": "mode"}]}, "mode"),
        ({"tables": [{**table, "rows": [{"encoder": "B"}]}]}, "'B'"),
        ({"tables": [{**table, "columns": [{"dataset": "nih"}]}]}, "no pair of its rows and columns"),
        ({"tables": [{"number": "2", "title": "t", "kind": "none"}]}, "does not say why"),
        ({"encoders": {"A": {"sepc": "random"}}}, "sepc"),
    ):
        with pytest.raises(UserError, match=re.escape(what)) as told:
            parsed("p", {**whole, **change})
        assert "\n" not in str(told.value)


def test_covid_qu_ex_is_its_lungs_for_the_code_has_no_other_masks() -> None:
    table = read_paper("pacx").table("1")
    assert table is not None
    rows = [cell for cell in cells(table) if cell.dataset == "covid-qu-ex"]
    assert {cell.label for cell in rows} == {covid_qu_ex.LUNG}
    printed = of_table("pacx", table, rows)
    assert len(printed) == len(rows) == 6
