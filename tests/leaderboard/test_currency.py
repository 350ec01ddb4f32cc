"""Cells that were made of different things never share a table; names that carry more than a name cannot change it."""

import csv
import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cxrbench.errors import UserError
from cxrbench.leaderboard.calibration.variants import variants
from cxrbench.leaderboard.comparison.compare import compare
from cxrbench.leaderboard.comparison.tables import comparison_to_markdown
from cxrbench.leaderboard.currency import current, versions
from cxrbench.leaderboard.markdown import to_markdown
from cxrbench.leaderboard.render import to_csv, to_json
from cxrbench.leaderboard.tables import build
from cxrbench.plugins.fixed_images import FixedFeatures
from cxrbench.predictions import NotApplicable, Predictions

PARTS = {"encoder weights": "w", "encoder source": "s", "precision": "fp32", "dataset": "d", "protocol version": "1"}


def of(made_up: Any, encoder: str, on: str = "vindr", date: str = "", **changes: str) -> Predictions:
    one = made_up(encoder, on)
    parts = {**PARTS, "encoder weights": f"w of {encoder}"} | {k.replace("_", " "): v for k, v in changes.items()}
    return replace(one, cell={**one.cell, "parts": parts}, made={"date": date} if date else {})


def names(predictions: list[Predictions]) -> list[tuple[str, str]]:
    return [(p.cell["encoder"], p.cell["dataset"]) for p in predictions]


@pytest.mark.parametrize("part", ["dataset", "protocol_version"])
def test_cells_of_one_column_share_data_and_protocol(made_up: Any, part: str) -> None:
    old = of(made_up, "spcl", date="2026-01-01T00:00:00Z", **{part: "other"})
    new = [of(made_up, name, date="2026-02-01T00:00:00Z") for name in ("imagenet", "random")]
    elsewhere = of(made_up, "spcl", "rsna", date="2025-01-01T00:00:00Z", dataset="its own")
    kept = current([old, *new, elsewhere])
    assert names(kept.predictions) == [("imagenet", "vindr"), ("random", "vindr"), ("spcl", "rsna")]
    (stale,) = kept.left_out
    assert (stale.encoder, stale.tasks, stale.differs) == ("spcl", ("vindr:classification",), part.replace("_", " "))
    assert "cxrbench run --encoder spcl --tasks vindr:classification" in stale.line


def test_one_name_is_one_encoder_on_the_whole_board(made_up: Any) -> None:
    cells = [
        of(made_up, "mine", "vindr", "2026-01-01T00:00:00Z", encoder_weights="first"),
        of(made_up, "mine", "rsna", "2026-03-01T00:00:00Z", encoder_weights="second"),
        of(made_up, "random", "vindr"),
    ]
    board = build(cells, replicates=100)
    assert {(r.encoder, r.dataset) for r in board.records} == {("mine", "rsna"), ("random", "vindr")}
    assert "another encoder weights" in board.remarks[0]
    assert board.remarks[0] in to_markdown(board)
    assert json.loads(to_json(board))["remarks"] == list(board.remarks)


def test_weights_for_the_phantom_and_for_patients_may_share_a_name(made_up: Any) -> None:
    real, drawn = of(made_up, "spcl"), replace(of(made_up, "spcl", encoder_weights="phantom"), synthetic=True)
    assert len(current([real, drawn]).predictions) == 2


def test_without_dates_the_state_of_most_cells_is_current_and_precision_is_free(made_up: Any) -> None:
    cells = [of(made_up, e, precision=p) for e, p in (("a", "fp32"), ("b", "bf16"), ("c", "fp32"))]
    assert current(cells).left_out == ()
    odd = of(made_up, "d", dataset="other")
    assert [stale.encoder for stale in current([odd, *cells]).left_out] == ["d"]


def test_an_encoder_whose_output_changed_is_another_encoder(made_up: Any) -> None:
    def gives(one: Predictions, value: float) -> Predictions:
        output = FixedFeatures(np.full((2, 3), value, np.float32)).to_json()
        return replace(one, cell={**one.cell, "fixed_images": output})

    old = gives(of(made_up, "mine", "rsna", "2026-01-01T00:00:00Z"), 1.0)
    noise = gives(of(made_up, "mine", "siim", "2026-01-01T00:00:00Z"), 1.1 * (1 + 1e-6))
    new = gives(of(made_up, "mine", "vindr", "2026-02-01T00:00:00Z"), 1.1)
    kept = current([old, noise, new])
    assert names(kept.predictions) == [("mine", "siim"), ("mine", "vindr")]
    assert "output on the fixed images" in kept.left_out[0].line


def test_stale_reasons_are_left_out_too(made_up: Any) -> None:
    cell = {**of(made_up, "a").cell, "parts": {**PARTS, "dataset": "old"}}
    kept = current([of(made_up, "b", date="2026-01-01T00:00:00Z")], [NotApplicable(cell, "it has no maps", False)])
    assert (kept.not_applicable, len(kept.left_out)) == ([], 1)


def test_compare_and_calibration_leave_them_out_too(made_up: Any) -> None:
    cells = [
        of(made_up, "a", "vindr", "2026-02-01T00:00:00Z"),
        of(made_up, "b", "vindr", "2026-02-01T00:00:00Z"),
        of(made_up, "a", "rsna", "2026-02-01T00:00:00Z"),
        of(made_up, "b", "rsna", "2026-01-01T00:00:00Z", dataset="old"),
    ]
    comparison = compare(cells, "a", "b", replicates=100)
    assert {row.dataset for row in comparison.rows} == {"vindr"}
    assert any("stale, left out: b on rsna:classification" in note for note in comparison.notes)
    found = {each.tests.task.dataset: each for each in variants(cells, methods=())}
    assert [len(found[name].tests.rows) for name in ("rsna", "vindr")] == [1, 2]
    assert any("stale, left out" in note for note in found["rsna"].notes)
    with pytest.raises(UserError, match="no task has results of both"):
        compare(cells[2:], "a", "b", replicates=100)


def test_versions_that_differ_are_said(made_up: Any) -> None:
    a, b, c = (
        replace(of(made_up, name), made={"versions": {"torch": version, "timm": "1"}})
        for name, version in (("a", "2.6"), ("b", "2.14"), ("c", "2.14"))
    )
    assert versions([a, b, c, of(made_up, "d")]) == (
        "results were made with several versions of torch: 2.14 (b, c); 2.6 (a)",
    )
    assert versions([b, c]) == ()


HOSTILE = "=1+1|<script>`x`\n# Title \x1b[31m\u202eevil\u2066"


def test_names_are_neutral_in_every_form(made_up: Any) -> None:
    cells = [
        made_up("random", dataset=HOSTILE, labels=(HOSTILE,)),
        made_up(HOSTILE, dataset=HOSTILE, labels=(HOSTILE,)),
    ]
    board = build(cells, replicates=100, metrics=("auroc",))
    markdown = to_markdown(board)
    comparison = comparison_to_markdown(compare(cells, HOSTILE, "random", replicates=100))
    for text in (markdown, comparison, to_csv(board)):
        assert not set(text) & {"\x1b", "\u202e", "\u2066", "\r"}
        assert "\n# Title" not in text
    for line in (line for text in (markdown, comparison) for line in text.splitlines() if line.startswith("|")):
        outside = "".join(line.replace("\\|", "").split("``")[::2])
        assert "<script>" not in outside.replace("\\<script\\>", "")
    table = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1
    rows = list(csv.DictReader(io.StringIO(to_csv(board))))
    assert {row["encoder"][:2] for row in rows} == {"'=", "ra"}
    assert all(float(row["value"]) for row in rows)


def test_cells_that_were_trained_on_other_data_do_not_share_a_column(made_up: Any) -> None:
    cells = [
        of(made_up, name, date=f"2026-0{month}-01T00:00:00Z", training_data=data)
        for name, month, data in (("spcl", 1, "old"), ("imagenet", 2, "new"))
    ]
    cells = [replace(one, cell={**one.cell, "protocol": "classification+train-a+train-nih"}) for one in cells]
    kept = current(cells)
    assert names(kept.predictions) == [("imagenet", "vindr")]
    assert kept.left_out[0].differs == "training data"
    assert "run --encoder spcl --tasks vindr:classification --train a+nih` and its options" in kept.left_out[0].line
