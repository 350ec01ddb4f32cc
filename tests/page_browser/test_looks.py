"""What a page must be for everybody: no fault that axe calls serious, nothing that runs over, readable on paper."""

import io
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from page_browser.faults import faults
from page_browser.pages import ENCODERS

Visit = Callable[..., Any]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", ["phone", "desktop"])
def test_axe_finds_no_serious_fault(visit: Visit, width: str, scheme: str) -> None:
    page = visit(width=width, scheme=scheme).page
    assert faults(page) == []
    page.locator("#choose-columns").select_option("labels rsna:classification")
    page.locator("summary", has_text="Families").click()
    assert faults(page) == []
    page.keyboard.press("Escape")
    page.locator("#board thead button").nth(1).click()
    assert faults(page) == []
    page.locator("#as-csv").click()
    assert faults(page) == []
    page.keyboard.press("Escape")
    page.locator("#board tbody button").first.click()
    assert faults(page) == []


@pytest.mark.parametrize("name", ["everything", "wide"])
@pytest.mark.parametrize("width", ["phone", "desktop"])
def test_only_tables_scroll_sideways(visit: Visit, width: str, name: str) -> None:
    page = visit(name, width).page
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def test_the_switch_turns_colours_over_and_paper_is_white(visit: Visit) -> None:
    page = visit().page
    background = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.locator("#theme").click()
    dark = page.evaluate(background)
    assert sum(map(int, re.findall(r"\d+", dark)[:3])) < 120 < 700 < sum(map(int, re.findall(r"\d+", light)[:3]))
    page.emulate_media(media="print")
    assert page.evaluate(background) == light


@pytest.mark.parametrize("name", ["everything", "wide"])
def test_paper_has_every_row_and_column_and_no_controls(visit: Visit, name: str) -> None:
    pypdf = pytest.importorskip("pypdf", reason="not installed here: the package pypdf")
    page = visit(name).page
    pdf = page.pdf(prefer_css_page_size=True)
    sheets = pypdf.PdfReader(io.BytesIO(pdf)).pages
    text = " ".join(unicodedata.normalize("NFKC", "".join(sheet.extract_text() for sheet in sheets)).split())
    close = text.replace(" ", "")
    for head in page.locator("#board thead th bdi").all_text_contents():
        assert head.replace(" ", "") in close, head
    for row in page.locator("#board tbody th bdi").all_text_contents():
        assert not row.isascii() or row.replace(" ", "") in close, row
    assert "Smallest detectable difference" in text
    assert "Markdown" not in text
    assert "Reset" not in text


def test_without_scripts_the_board_is_there(visit: Visit) -> None:
    page = visit(java_script_enabled=False).page
    text = page.locator("noscript").inner_text()
    assert all(name in text for name in ENCODERS if name.isascii() and "@" not in name)
    assert page.locator("noscript table").count() > 2
    assert page.locator("#page").is_hidden()


def test_a_link_of_a_mail_opens_it_elsewhere(visit: Visit, files: dict[str, Path], tmp_path: Path) -> None:
    """The file alone, under another name, in another folder."""
    copy = tmp_path / "attachment (1).html"
    copy.write_bytes(files["everything"].read_bytes())
    page = visit().page
    page.context.set_offline(True)
    heard: list[str] = []
    other = page.context.new_page()
    other.on("console", lambda message: heard.append(message.text))
    other.goto(copy.as_uri())
    assert other.locator("#board tbody tr").count() == len(ENCODERS) + 1
    assert heard == []
