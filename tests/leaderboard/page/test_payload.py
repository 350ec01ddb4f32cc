"""What the page's script is told: the numbers that the Markdown prints, and names that stay names."""

import json
import math

import pytest

from cxrbench.leaderboard.board import NAN
from cxrbench.leaderboard.display import encoders_of, shown_names
from cxrbench.leaderboard.page.columns import ten_thousandths, thousandths
from cxrbench.leaderboard.page.families import family_of
from cxrbench.leaderboard.page.inside import Inside
from cxrbench.leaderboard.page.payload import in_script, payload
from cxrbench.leaderboard.published.matching import beside
from cxrbench.leaderboard.tables import build

NASTY = "</script><script>alert(1)</script>"


@pytest.fixture
def board(made_up):
    cells = [
        made_up(encoder, dataset, strength=strength, fraction=fraction, synthetic=dataset == "phantom")
        for encoder, strength in (("spcl", 2.0), ("random", 0.3))
        for dataset in ("rsna", "vindr", "phantom")
        for fraction in (0.1, 1.0)
    ]
    return build(cells, replicates=100, metrics=("auroc", "ece"))


def told(board, inside=Inside(), spread="interval"):  # noqa: B008  frozen
    return json.loads(payload(board, shown_names(encoders_of(board), {}), inside, spread, str))


def test_every_record_is_there_and_reads_as_in_markdown(board) -> None:
    found = told(board)
    names, labels = [e["name"] for e in found["encoders"]], [label["name"] for label in found["labels"]]
    cells = {
        (table["synthetic"], column["dataset"], table["fraction"], table["metric"], labels[part["label"]],
         names[who]): (part["v"][k], part["n"], part["lo"][k] if "lo" in part else None)
        for table in found["tables"] for column in table["columns"] for part in column["parts"]
        for k, who in enumerate(part.get("who", column["who"]))
    }  # fmt: skip
    assert len(cells) == len(board.records)
    for r in board.records:
        value, n, lower = cells[r.synthetic, r.dataset, r.fraction, r.metric, r.label, r.encoder]
        assert f"{value / 1000:.3f}" == f"{r.value:.3f}"
        assert n == r.n
        assert (lower is None) == math.isnan(r.lower)


def test_real_and_synthetic_results_share_no_table(board) -> None:
    for table in told(board)["tables"]:
        assert {column["dataset"] == "phantom" for column in table["columns"]} == {table["synthetic"]}


def test_means_and_their_tests_are_those_of_the_board(board) -> None:
    found = told(board)
    (table,) = [t for t in found["tables"] if not t["synthetic"] and (t["metric"], t["fraction"]) == ("auroc", 1.0)]
    of = {one.encoder: one for one in board.overall["auroc", "classification", 1.0, False]}
    for at, encoder in enumerate(e["name"] for e in found["encoders"]):
        assert table["means"][str(at)] == thousandths(of[encoder].value)
        assert table["overall"][str(at)]["rank"][0] == of[encoder].rank
    assert table["tests"] == [2, 1]


def test_nothing_in_a_name_ends_the_script(made_up) -> None:
    cells = [made_up(NASTY, "a\u2028b", labels=("<!--", "‮x")), made_up("random", "a\u2028b", labels=("<!--", "‮x"))]
    board = build(cells, replicates=100, metrics=("auroc",))
    text = payload(board, shown_names(encoders_of(board), {}), Inside({NASTY: (("<b>", "&"),)}), "interval", str)
    assert not {"<", ">", "&", "\u2028", "\u202e"} & {*text}
    assert [e["name"] for e in json.loads(text)["encoders"]] == [NASTY, "random"]


def test_a_p_value_stays_on_its_side_of_five_per_cent() -> None:
    assert [ten_thousandths(p) for p in (0.04999, 0.05, 0.050001, 0.01, NAN)] == [499, 500, 500, 100, None]
    assert [thousandths(v) for v in (0.9855, 12.3456, -0.0001, NAN, math.inf)] == [
        round(float(f"{0.9855:.3f}") * 1000), 12346, 0, None, None,
    ]  # fmt: skip


def test_a_script_element_may_hold_it() -> None:
    assert in_script({"x": "a</b", "y": (NAN, 0.5)}) == '{"x":"a\\u003c/b","y":[null,0.5]}'


def test_the_family_of_an_encoder_is_the_plugin_that_it_names() -> None:
    texts = ["timm:resnet50", "spcl@runs/x.safetensors", "random", "./mine.py:Mine@w.pt", "hf:a/b"]
    assert [family_of(text, "encoder") for text in texts] == ["timm", "spcl", "random", "own code", "hf"]
    assert family_of("knn+views2@0.1", "protocol") == "knn"


def test_published_figures_are_told_as_they_are_printed(board) -> None:
    found = beside(board)
    figures = told(board, Inside(published=found.figures))["published"]
    assert len(figures) == len(found.figures) > 10
    columns = {(column["title"], table["fraction"]) for table in told(board)["tables"] for column in table["columns"]}
    for one, figure in zip(found.figures, figures, strict=True):
        assert (figure["task"], figure["fraction"]) in columns
        assert figure["text"] == one.printed
        assert figure["differs"] == list(one.differs)
        assert figure["name"] == f"{one.encoder} ({one.paper}, {one.table})"
