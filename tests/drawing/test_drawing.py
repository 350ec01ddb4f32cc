"""Charts as files: strangers' names stay text, bytes stay the same, fonts are there."""

from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from cxrbench.drawing.files import check_place, our_style, save
from cxrbench.drawing.palette import style
from cxrbench.drawing.words import drawable, paragraph, wrapped
from cxrbench.errors import UserError

NAMES = ("a$b$c", r"\$x$", "<script>alert('1')</script>", "\u202eright to left", "two\nlines", "中文", "ἄλφα", "שלום")


def draw(path: Path) -> bytes:
    with our_style():
        figure = Figure(figsize=(2, 2), layout="constrained")
        halves: Any = figure.subfigures(2, 1)  # in these, matplotlib's own names of clipping paths change
        halves[0].subplots().plot([1, 2], label="x")
        for row, name in enumerate(NAMES):
            figure.text(0.1, row / 10, drawable(name))
        save(figure, path, "a title")
    return path.read_bytes()


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
@pytest.mark.filterwarnings("error")
def test_a_chart_has_the_same_bytes_twice_and_draws_any_name(ending: str, tmp_path: Path) -> None:
    first = draw(tmp_path / f"a.{ending}")
    assert draw(tmp_path / f"b.{ending}") == first
    assert b"<script" not in first


def test_a_pdf_embeds_true_type_fonts_and_an_svg_needs_none(tmp_path: Path) -> None:
    assert b"/FontFile2" in draw(tmp_path / "a.pdf")
    svg = draw(tmp_path / "a.svg")
    assert b"<text" not in svg
    assert b"<dc:date" not in svg


def test_names_are_text_whatever_is_in_them() -> None:
    shown = {name: drawable(name) for name in NAMES}
    assert shown["a$b$c"] == r"a\$b\$c"
    assert shown["two\nlines"] == r"two\nlines"
    assert shown["中文"] == r"\u4e2d\u6587"
    assert shown["\u202eright to left"] == r"\u202eright to left"
    assert shown["ἄλφα"] == "ἄλφα"


def test_long_names_are_broken_where_they_may_be_and_lose_their_middle() -> None:
    assert wrapped("hf:microsoft/rad-dino", 13) == "hf:microsoft/\nrad-dino"
    assert wrapped("a$b$c", 2) == "a\\$\nb\\$\nc"
    assert paragraph("one $two$ three", 8) == "one\n\\$two\\$\nthree"
    lines = wrapped("x" * 100, 10).split("\n")
    assert len(lines) == 3
    assert max(map(len, lines)) <= 11
    assert "…" in "".join(lines)


def test_many_are_told_apart_by_colour_and_shape() -> None:
    assert len({style(number) for number in range(70)}) == 70
    seven = [style(number) for number in range(7)]
    assert len({one.colour for one in seven}) == len({one.marker for one in seven}) == 7


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.txt", "ends in"),
        ("nowhere/a.png", "no folder"),
        ("folder.png", "is a folder"),
        (f"{'n' * 300}.png", "File name too long"),
    ],
)
def test_a_place_that_cannot_be_written_to_is_told_at_once(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match=message):
        check_place(tmp_path / name)
