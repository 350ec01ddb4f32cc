"""The table as CSV, LaTeX and Markdown: exactly what is shown, with nothing in a name a command or a formula."""

import csv
import io
import re
from collections.abc import Callable
from typing import Any

from page_browser.pages import QUOTED, SCRIPT

from cxrbench.leaderboard.board import Board
from cxrbench.leaderboard.markdown import to_markdown

Visit = Callable[..., Any]


def text(page: Any, kind: str) -> str:
    """What a button gives."""
    page.locator(f"#as-{kind}").click()
    found = page.locator("dialog#text textarea").input_value()
    page.locator("dialog#text button", has_text="Close").click()
    return found


def lines(markdown: str) -> list[str]:
    """Rows of tables without the spaces that pad their cells."""
    return [re.sub(r" +(?=\||$)|(?<=\|) +|-{3,}", "", line) for line in markdown.splitlines() if line.startswith("|")]


def shown(page: Any) -> list[list[str]]:
    """The body of the table as words."""
    return page.evaluate(
        """() => [...document.querySelectorAll("#board tbody:not(.published) tr")].map((row) =>
             [...row.cells].map((cell) => cell.textContent.trim().replace(/\\s+/g, " ")))"""
    )


def test_markdown_is_the_table_of_the_board(visit: Visit, board: Board) -> None:
    ours = [line for line in lines(text(visit().page, "markdown")) if "CheXzero" not in line]
    theirs = lines(to_markdown(board).split("### ")[1])
    theirs = theirs[: next(k for k, line in enumerate(theirs) if line.startswith("|Over all columns"))]
    columns = ours[0].split("|Mean rank")[0].count("|")
    cells = ["|".join(re.split(r"(?<!\\)\|", line)[: columns + 1]) for line in ours]
    assert cells == [line.removesuffix("|") for line in theirs]


def test_csv_is_what_is_shown_after_filters_and_sort(visit: Visit) -> None:
    page = visit().page
    page.locator("summary", has_text="Data sets").click()
    page.get_by_role("checkbox", name="<i>clinic</i>:classification").uncheck()
    page.locator("#board thead button", has_text="rsna:classification").click()
    table = [*csv.DictReader(io.StringIO(text(page, "csv")))]
    body = shown(page)
    ours = table[: len(body)]
    assert [row["encoder"] for row in ours] == [row[0] for row in body]
    for row, line in zip(ours, body, strict=True):
        value, lower, upper = (row[f"rsna:classification{part}"] for part in ("", " lower", " upper"))
        marks = " ".join(filter(None, (row["rsna:classification mark"].strip("† "), row["rsna:classification ties"])))
        dagger = "†" if "†" in row["rsna:classification mark"] else ""
        assert line[1] == f"{value}{dagger} {marks} [{lower}, {upper}]".replace("  ", " ")
    assert not any("clinic" in name for name in table[0])
    assert {SCRIPT, QUOTED} <= {row["encoder"] for row in ours}


def test_a_name_that_a_spreadsheet_would_compute_is_text(visit: Visit) -> None:
    page = visit().page
    rows = page.evaluate(
        """() => { document.querySelector("#as-csv").click();
             return document.querySelector("dialog#text textarea").value.split("\\n").map((line) => line[0]); }"""
    )
    assert not {"=", "+", "-", "@"} & {*rows}


def test_latex_has_every_row_and_no_command_in_a_name(visit: Visit) -> None:
    page = visit().page
    found = text(page, "latex")
    body = [line for line in found.splitlines() if line.endswith(r"\\")]
    columns = page.locator("#board thead th").count()
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {columns - 1}
    assert r"\texttt{\textless{}script\textgreater{}window.broken = 1\textless{}/script\textgreater{}}" in found
    assert len(re.findall(r"\\textbf\{0\.\d{3}\}", found)) >= 3
    assert not re.search(r"(?<!\\)[#_]", "\n".join(body))
    assert found.replace(r"\{", "").replace(r"\}", "").count("{") == found.replace(r"\}", "").count("}")


def test_labels_are_given_as_they_are_shown(visit: Visit) -> None:
    page = visit().page
    page.locator("#choose-columns").select_option("labels rsna:classification")
    body = shown(page)
    table = lines(text(page, "markdown"))
    assert len(table) == 2 + len(body) + 1 + 1, "the published mean stands below ours"
    assert table[0].startswith("|Encoder|mean over labels|")
    assert re.search(r"\*positives / images\*\|\*160\*\|\*\d+ / 160\*", table[-1])


def test_the_text_can_be_saved_as_a_file(visit: Visit) -> None:
    page = visit().page
    page.locator("#as-markdown").click()
    expected = page.locator("dialog#text textarea").input_value()
    with page.expect_download() as saving:
        page.locator("dialog#text a").click()
    assert saving.value.suggested_filename == "board.md"
    assert saving.value.path().read_text() == expected
