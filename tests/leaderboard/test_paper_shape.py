"""A paper's table in Markdown: every cell says whose value it is."""

from dataclasses import replace

from cxrbench.leaderboard.papers.record import PAPER_ALONE, PaperRecord
from cxrbench.leaderboard.papers.shape import Cells, grid, to_markdown
from cxrbench.papers.paper import Paper, PaperTable, TablePlace

TABLE = PaperTable(
    number="1", title="what is measured", corner="Method", says="one run",
    rows=(TablePlace("A", group="G", facts={"Backbone": "ViT"}), TablePlace("B", group="G")),
    columns=(TablePlace("AUC", group="RSNA"), TablePlace("AP")),
)  # fmt: skip
PAPER = Paper("p", "P", "s", "spcl", {}, (TABLE,), ())
OURS = PaperRecord(
    "p", "1", "A", "RSNA AUC", "spcl", "rsna", "classification", 1.0, "auroc", "macro", value=71.26, lower=69.0,
    upper=73.5, n=100, seeds=1, digits=1, published="72.7",
)  # fmt: skip


def rows_of(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]


def test_ours_stands_beside_the_published_value_and_what_is_not_ours_is_in_italics() -> None:
    cells: Cells = {
        (0, 0): OURS,
        (0, 1): replace(OURS, published="", value=5.0, lower=float("nan"), upper=float("nan")),
        (1, 0): replace(OURS, encoder="", value=float("nan"), published="60.0", published_spread="0.4"),
        (1, 1): replace(OURS, value=float("nan"), published=""),
    }
    header, _, first, second = rows_of(grid(TABLE, cells))
    assert header == ["", "Method", "Backbone", "RSNA AUC", "AP"]
    assert first == ["G", "A", "*ViT*", "71.3 [69.0, 73.5] (*72.7*)", "5.0"]
    assert second == ["", "B", "", "*60.0 ± 0.4*", "–"]
    assert "- –: the paper prints nothing there, and there is no value of ours." in to_markdown(PAPER, TABLE, cells, [])
    assert "–" not in to_markdown(PAPER, TABLE, {(0, 0): OURS}, [])
    percent = rows_of(grid(TABLE, {(0, 0): replace(OURS, published="72.7%")}))[2]
    assert percent[3] == "71.3% [69.0, 73.5] (*72.7%*)"
    assert rows_of(grid(TABLE, {(0, 0): replace(cells[1, 1], reason=PAPER_ALONE)}))[2][-2:] == ["", ""]


def test_the_papers_own_statistic_is_called_what_it_is() -> None:
    of_seeds = replace(OURS, statistic="seeds", seeds=5, centre=71.26, spread=0.44)
    of_folds = replace(OURS, statistic="folds", centre=70.0, spread=1.25, published="")
    of_resamples = replace(OURS, statistic="resamples", centre=71.2, low=69.1, high=73.3, published="")
    for record, shown, said in (
        (of_seeds, "71.3 [69.0, 73.5] ± 0.4 (*72.7*)", "± SD over 5 training seeds"),
        (of_folds, "71.3 [69.0, 73.5]; folds 70.0 ± 1.2", "mean ± SD of the folds"),
        (of_resamples, "71.3 [69.0, 73.5]; median 71.2 [69.1, 73.3]", "500 resamples"),
    ):
        text = to_markdown(PAPER, TABLE, {(0, 0): record}, [])
        assert shown in text
        assert said in text


def test_a_difference_is_flagged_and_synthetic_values_are_not_compared() -> None:
    real = to_markdown(PAPER, TABLE, {(0, 0): replace(OURS, differs=True)}, ["not_run: `cxrbench run` would"])
    assert "(*72.7*) ≠" in real
    assert "outside our 95% interval" in real
    assert "- not_run: `cxrbench run` would." in real
    assert "SYNTHETIC" not in real
    drawn = to_markdown(PAPER, TABLE, {(0, 0): replace(OURS, synthetic=True)}, [])
    assert "SYNTHETIC" in drawn
    assert "no difference is flagged" in drawn


def test_a_mark_is_the_one_tailed_test() -> None:
    table = replace(TABLE, kind="marks", baseline="A")
    for p, gain, mark in ((0.01, 1.0, "✓✓ p = 0.010"), (0.2, 1.0, "✓ p = 0.200"), (0.8, -1.0, "✗ p = 0.800")):
        cells: Cells = {(0, 0): replace(OURS, p=p, gain=gain, published="✓✓")}
        assert f"{mark} (*✓✓*)" in grid(table, cells)
