"""The page as bytes: one file that asks nobody for anything, and says all that the Markdown says."""

import base64
import hashlib
import json
import math
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from importlib.resources import files
from typing import ClassVar

import pytest

from cxrbench.api.markup import to_html
from cxrbench.leaderboard.cells import Look
from cxrbench.leaderboard.columns.heads import Head
from cxrbench.leaderboard.latex.text import latex_text
from cxrbench.leaderboard.page.inside import Inside, Writers
from cxrbench.leaderboard.page.page import SCRIPTS, to_page
from cxrbench.leaderboard.subgroups.evaluate import ByGroup
from cxrbench.leaderboard.tables import build

WRITERS = Writers(to_html, latex_text)


def page(board) -> str:
    return to_page(board, Look(), Inside(pictures={"forest": {"x": ("</script>", math.nan)}}), WRITERS)


@pytest.fixture
def cells(made_up):
    return [
        made_up("spcl@<b>'\"", "rsna", strength=2.0, pretrained_on=("rsna",)),
        made_up("random", "rsna", strength=0.3),
        made_up("random", "phantom", synthetic=True),
    ]


@pytest.fixture
def text(cells):
    return page(build(cells, replicates=100))


def test_the_same_results_give_the_same_bytes(cells) -> None:
    assert page(build(cells, replicates=100)) == page(build(cells[::-1], replicates=100))


def test_nothing_is_fetched(text) -> None:
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert unescape(policy).startswith("default-src 'none'; ")
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert not re.findall(r"<(?:link|img|iframe|object|embed|base)\b(?! rel=\"icon\" href=\"data:,\")", text)
    assert "@import" not in text
    assert "url(" not in text


class Landmarks(HTMLParser):
    """The landmarks of a page, by HTML-AAM: role, and where its accessible name is taken from."""

    ROLES: ClassVar = {
        "section": "region",
        "form": "form",
        "nav": "navigation",
        "aside": "complementary",
        "main": "main",
    }

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found = list[tuple[str, str]]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        role = said.get("role") or self.ROLES.get(tag)
        if role in self.ROLES.values():
            self.found.append((str(role), said.get("aria-labelledby") or said.get("aria-label") or ""))


@pytest.mark.parametrize("encoder", ["", "spcl"], ids=["of encoders", "of protocols"])
def test_no_two_landmarks_have_one_name(cells, encoder: str) -> None:
    heads = (Head("random", "rsna:segmentation", "unet", "4 x 8", 9),)
    board = build(cells, replicates=100, efficiency={"random": {"parameters": 2}})
    landmarks = Landmarks(page(replace(board, encoder=encoder, heads=heads, remarks=("a remark",)))).found
    assert {("region", "efficiency-title"), ("region", "heads-title"), ("region", "Remarks")} <= {*landmarks}
    assert all(name for role, name in landmarks if role != "main")
    assert len(landmarks) == len(set(landmarks))


def test_only_the_scripts_of_the_page_run(text) -> None:
    payload, script, picture = re.findall(r"<script[^>]*>(.*?)</script>", text, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in unescape(text)
    assert payload.startswith('{"row":"encoder"')
    assert json.loads(picture) == {"x": ["</script>", None]}
    assert text.count("<script") == text.count("</script>") == 3


def test_no_script_writes_markup_and_all_are_read() -> None:
    folder = files("cxrbench.leaderboard.page")
    names = {file.name for file in folder.joinpath("js").iterdir()}
    assert names == {f"{name}.js" for name in SCRIPTS}
    scripts = [*folder.joinpath("js").iterdir(), *folder.joinpath("charts").iterdir()]
    for file in (one for one in scripts if one.name.endswith(".js")):
        source = file.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|fetch\(|XMLHttp", source)
        assert len(source.splitlines()) <= 300, file.name


def test_names_are_text(text) -> None:
    outside = re.sub(r"<script.*?</script>", "", text, flags=re.S)
    assert "<b>" not in outside
    assert "spcl@<b>'\"" in unescape(outside)


def test_notes_legend_and_remarks_of_the_markdown_are_on_the_page(cells) -> None:
    board = build(cells, replicates=100)
    shown = re.sub(r"<noscript>.*?</noscript>", "", page(board), flags=re.S)
    plain = " ".join(unescape(re.sub(r"<[^>]*>", "", shown)).split())
    for words in (
        "Smallest detectable difference", "pretrained on images of rsna",
        "drawn by a program", "better than the baseline random", "100 bootstrap replicates",
    ):  # fmt: skip
        assert words in plain


def test_why_a_task_has_no_groups_is_said(cells) -> None:
    board = build(cells, replicates=100)
    task = board.columns[0].task
    groups = [ByGroup("sex", (), {task: ("the sex of no image is known",)}, None, 100, 0)]
    text = to_page(board, Look(), Inside(groups=groups), WRITERS)
    assert "rsna:classification, by sex: the sex of no image is known." in text
