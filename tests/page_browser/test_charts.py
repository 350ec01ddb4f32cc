"""The pictures of a page: what they show, how they are reached without a mouse, and that names stay text."""

from collections.abc import Callable
from typing import Any

import pytest
from page_browser.faults import faults
from page_browser.pages import ENCODERS, QUOTED, SCRIPT

from cxrbench.leaderboard.board import Board
from cxrbench.leaderboard.pictures.about import columns_of
from cxrbench.leaderboard.pictures.matrix import matrix

Visit = Callable[..., Any]
TABLE = ("auroc", "classification", 1.0, False)
CHARTS = (
    "Forest plot", "Significance matrix", "Critical difference", "By label", "Radar", "Label efficiency", "ROC",
    "Precision-recall", "Reliability", "Subgroups", "Cost",
)  # fmt: skip


def opened(page: Any, title: str) -> Any:
    """The panel with this chart."""
    page.get_by_role("tab", name=title, exact=True).click()
    return page.locator("#picture")


def drawn(page: Any, title: str) -> Any:
    """The charts in the panel, without the marks in lines of text."""
    return opened(page, title).locator("svg[role=group]")


def choose(chart: Any, what: str, value: str) -> None:
    """Choose something within a chart."""
    chart.locator(f"select[data-key='{what}']").select_option(value)


@pytest.mark.parametrize(("width", "scheme"), [("phone", "dark"), ("desktop", "light")])
def test_every_chart_is_drawn_with_marks_and_without_a_fault(visit: Visit, width: str, scheme: str) -> None:
    page = visit(width=width, scheme=scheme).page
    assert tuple(page.get_by_role("tab").all_text_contents()) == CHARTS
    for title in CHARTS:
        charts = drawn(page, title)
        assert charts.count() >= 1, title
        assert charts.first.get_attribute("aria-label")
        assert charts.first.locator(".told").count() > 1, title
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), title
        assert faults(page) == [], title


def test_the_forest_has_a_row_for_each_encoder_and_says_the_value_and_its_interval(visit: Visit, board: Board) -> None:
    page = visit().page
    chart = opened(page, "Forest plot")
    choose(chart, "forest column", "rsna:classification")
    marks = chart.locator("svg[role=group] .told")
    assert marks.count() == len(ENCODERS)
    marks.first.hover()
    said = page.locator("#tip").inner_text()
    best = max((r for r in board.records if (r.label, r.metric, r.dataset, r.fraction, r.synthetic)
                == ("macro", "auroc", "rsna", 1.0, False)), key=lambda r: r.value)  # fmt: skip
    assert f"AUROC {best.value:.3f} [{best.lower:.3f}, {best.upper:.3f}]" in said
    assert f"gain over random +{best.gain:.3f}" in said


def test_marks_are_reached_with_tab_and_arrows_and_say_what_they_are(visit: Visit) -> None:
    page = visit().page
    chart = opened(page, "Forest plot")
    choose(chart, "forest column", "rsna:classification")
    marks = chart.locator("svg[role=group] .told")
    assert marks.and_(page.locator("[tabindex='0']")).count() == 1
    marks.first.focus()
    first = page.evaluate("() => document.activeElement.getAttribute('aria-label')")
    page.keyboard.press("ArrowDown")
    second = page.evaluate("() => document.activeElement.getAttribute('aria-label')")
    assert first != second
    assert second.split(",")[0] in page.locator("#tip").inner_text()
    assert marks.and_(page.locator("[tabindex='0']")).count() == 1
    page.keyboard.press("ArrowUp")
    assert page.evaluate("() => document.activeElement.getAttribute('aria-label')") == first


def test_squares_of_the_matrix_are_the_boards_tests(visit: Visit, board: Board) -> None:
    page = visit().page
    chart = opened(page, "Significance matrix")
    choose(chart, "matrix column", "rsna:classification")
    found = [c for c in matrix(board, TABLE).columns if c.task == "rsna:classification"]
    separated = sum(p < 0.05 for p in found[0].p)
    assert 0 < separated < len(found[0].p)
    for verdict in ("0", "1"):  # better, worse: the matrix has each pair twice
        assert chart.locator(f"svg[role=group] rect.told[style*='--c{verdict}']").count() == separated
    assert chart.locator("svg[role=group] rect.told").count() == 2 * len(found[0].p)


def test_charts_follow_the_filters_of_the_table(visit: Visit, board: Board) -> None:
    page = visit().page
    column = len(columns_of(board, TABLE))
    assert drawn(page, "Forest plot").count() == column + 1  # and the mean
    page.locator("#choose-find").fill("r")
    chart = opened(page, "Reliability")
    rows = page.locator("#board tbody tr").count()
    assert 0 < chart.locator("svg[role=group]").count() <= rows < len(ENCODERS)
    page.locator("#choose-metric").select_option("brier")
    assert "Brier score" in drawn(page, "Forest plot").first.get_attribute("aria-label")


def test_names_are_text_in_charts(visit: Visit) -> None:
    page = visit().page
    text = opened(page, "ROC").inner_text()
    assert SCRIPT in text
    assert QUOTED in text
    assert page.evaluate("() => window.broken") is None
    assert "\u202e" not in page.locator("#picture").inner_html()
