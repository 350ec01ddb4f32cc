"""Sorting, filtering and the keyboard: what is on the screen is what was asked for, and the address keeps it."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from page_browser.pages import ARABIC, ENCODERS, LABELS, QUOTED, SCRIPT

from cxrbench.files.names import visible
from cxrbench.leaderboard.board import Board

Visit = Callable[..., Any]


def rows(page: Any) -> list[list[str]]:
    """The text of the table's body: name and values, without what stands below them."""
    return page.evaluate(
        """() => [...document.querySelectorAll("#board tbody:not(.published) tr")].map((row) =>
             [...row.cells].map((cell) => { const copy = cell.cloneNode(true);
               copy.querySelectorAll("small").forEach((one) => one.remove()); return copy.textContent.trim(); }))"""
    )


def names(page: Any) -> list[str]:
    return [row[0] for row in rows(page)]


def heads(page: Any) -> list[str]:
    return page.locator("#board thead th bdi").all_text_contents()


def values(page: Any, head: str) -> list[float | None]:
    """Of a column, as numbers."""
    k = heads(page).index(head)
    cells = [row[k].split()[0].rstrip("†") if row[k] else "" for row in rows(page)]
    return [float(cell) if cell[:1].isdigit() else None for cell in cells]


@pytest.mark.parametrize("width", ["phone", "desktop"])
def test_a_heading_sorts_best_first_then_worst_first_then_not(visit: Visit, width: str) -> None:
    page = visit(width=width).page
    before = rows(page)
    head = page.locator("#board thead th", has_text="siim:classification")
    for direction, reverse in (("descending", True), ("ascending", False)):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == direction
        found = values(page, "siim:classification")
        known = [value for value in found if value is not None]
        assert len(known) == len(ENCODERS) - 1
        assert known == sorted(known, reverse=reverse)
        assert found[-1] is None, "who has no value stands last, whatever the direction"
    head.locator("button").click()
    assert head.get_attribute("aria-sort") is None
    assert rows(page) == before


def test_values_and_places_are_those_of_the_board(visit: Visit, board: Board) -> None:
    page = visit().page
    of = {
        (r.dataset, visible(r.encoder)): r
        for r in board.records
        if (r.metric, r.label, r.fraction) == ("auroc", "macro", 1.0)
    }
    spec = dict(page.evaluate(
        "() => JSON.parse(document.getElementById('payload').textContent).encoders.map((e) => [e.name, e.spec])"
    ))  # fmt: skip
    for dataset in ("rsna", "siim"):
        shown = dict(zip(names(page), values(page, f"{dataset}:classification"), strict=True))
        known = {e: v for e, v in shown.items() if v is not None}
        for encoder, value in known.items():
            assert f"{of[dataset, spec[encoder]].value:.3f}" == f"{value:.3f}"
        k = heads(page).index(f"{dataset}:classification")
        bold = page.locator(f"#board tbody tr td:nth-child({k + 1}) strong").all_text_contents()
        assert bold == [f"{max(known.values()):.3f}"]


def test_arrow_keys_move_and_enter_sorts(visit: Visit) -> None:
    page = visit().page
    page.locator("#board thead button").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    focused = "() => document.activeElement.closest('th,td').textContent"
    first = heads(page)[1]
    assert page.locator("#board thead th[aria-sort=descending]").count() == 1
    assert page.evaluate(focused).startswith(first), "the focus stays where it was"
    page.keyboard.press("ArrowDown")
    assert page.locator("#tip").is_visible()
    assert first in page.locator("#tip").inner_text()
    assert "95% interval" in page.locator("#tip").inner_text()
    page.keyboard.press("Escape")
    assert page.locator("#tip").is_hidden()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    assert page.locator("dialog#card").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("dialog#card").is_hidden()
    assert page.evaluate("() => document.querySelectorAll('#board [tabindex=\"0\"]').length") == 1


def test_a_tap_tells_what_a_cell_rests_on(visit: Visit) -> None:
    page = visit(width="phone").page
    page.locator("#board tbody td").first.tap()
    told = page.locator("#tip").inner_text()
    assert "gain over random" in told
    assert "160 images of 80 patients" in told


def test_data_sets_and_families_can_be_hidden(visit: Visit) -> None:
    page = visit().page
    page.locator("summary", has_text="Data sets").click()
    page.get_by_role("checkbox", name="siim:classification").uncheck()
    assert "siim:classification" not in heads(page)
    assert "of all 3 data sets, of which 2 are shown" in page.locator("#under").inner_text()
    page.locator("summary", has_text="Families").click()
    page.get_by_role("checkbox", name="timm").uncheck()
    assert "timm:resnet50" not in names(page)
    assert page.locator("#count").inner_text() == "6 of 7 encoders, 2 of 3 data sets (without timm)"
    page.get_by_role("button", name="Reset").click()
    assert (len(names(page)), "siim:classification" in heads(page)) == (7, True)


def test_contaminated_results_can_be_left_out_or_alone(visit: Visit) -> None:
    page = visit().page
    page.locator("#choose-dagger").select_option("none")
    assert "timm:resnet50" not in names(page)
    assert len(names(page)) == 6
    page.locator("#choose-dagger").select_option("only")
    assert names(page) == ["timm:resnet50"]


def test_metric_fraction_and_columns_are_chosen(visit: Visit, board: Board) -> None:
    page = visit().page
    page.locator("#choose-metric").select_option("brier")
    page.locator("#choose-fraction").select_option("0.1")
    assert page.locator("#table-title").inner_text().startswith("Classification: Brier score, mean over labels, 10%")
    page.locator("#choose-columns").select_option("labels rsna:classification")
    assert heads(page)[1:] == ["mean over labels", *LABELS]
    shown = dict(zip(names(page), values(page, LABELS[1]), strict=True))
    (record,) = [r for r in board.records if (r.encoder, r.dataset, r.metric, r.label, r.fraction) ==
                 ("random", "rsna", "brier", LABELS[1], 0.1)]  # fmt: skip
    assert f"{shown['random']:.3f}" == f"{record.value:.3f}"
    page.locator("#choose-fraction").select_option("1")
    page.locator("#choose-metric").select_option("auroc")
    page.locator("#choose-columns").select_option("sex rsna:classification")
    assert heads(page)[1:] == ["F", "M", "Worst", "Gap to the best [95% interval]"]
    for part in ("#controls", "#board", "#count", "#under", "#example", "#picture"):
        assert not re.search(r"\b(null|undefined|NaN)\b|\[object", page.locator(part).inner_text()), part


def test_synthetic_results_stand_apart(visit: Visit) -> None:
    page = visit().page
    assert page.locator("#synthetic").is_hidden()
    assert "phantom:classification" not in heads(page)
    page.get_by_label("Synthetic data").check()
    assert page.locator("#synthetic").is_visible()
    assert heads(page)[1:] == ["phantom:classification"]


def test_the_address_keeps_what_was_chosen(visit: Visit) -> None:
    page = visit().page
    page.locator("#choose-metric").select_option("auprc")
    page.get_by_role("searchbox").fill("o")
    page.locator("#board thead button", has_text="rsna:classification").click()
    before, address = rows(page), page.url
    page.goto("about:blank")
    page.goto(address)
    assert rows(page) == before
    assert page.get_by_role("searchbox").input_value() == "o"


def test_an_address_that_makes_no_sense_shows_the_board(visit: Visit) -> None:
    page = visit().page
    page.evaluate(
        "() => { location.hash = 'metric=%3Cb%3E&columns=labels+x&sort=__proto__&data=x&chart=constructor'; }"
    )
    page.wait_for_function("() => document.querySelectorAll('#board tbody tr').length > 0")
    assert len(names(page)) == len(ENCODERS)


@pytest.mark.parametrize("width", ["phone", "desktop"])
def test_names_are_text_whatever_is_in_them(visit: Visit, width: str) -> None:
    page = visit(width=width).page
    assert page.evaluate("() => window.broken") is None
    assert {SCRIPT, QUOTED, ARABIC, "\\u202eevil"} <= set(names(page))
    assert page.locator("#page script, #page b, #page i").count() == 0
    page.locator("#board tbody button", has_text="window.broken").click()
    card = page.locator("dialog#card")
    assert card.locator("h2").inner_text() == SCRIPT
    assert "<b>MIT</b>" in card.inner_text()


def test_published_figures_are_in_italics_and_never_ranked(visit: Visit) -> None:
    page = visit().page
    row = page.locator("#board tbody.published tr")
    assert row.locator("th").inner_text() == "CheXzero <1> (Paper 2026, Table 1)"
    cells = row.locator("td").all_inner_texts()
    assert cells[heads(page).index("rsna:classification") - 1] == "0.912 ± 0.004"
    assert row.locator("strong, u").count() == 0
    assert page.evaluate("() => getComputedStyle(document.querySelector('.published td')).fontStyle") == "italic"
