"""Regression on the board: R² and MAE agree on who is better, though less of one is more; groups; labels."""

import numpy as np
import pandas as pd
import pytest

from cxrbench.errors import UserError
from cxrbench.leaderboard.board import HEADLINE, Board
from cxrbench.leaderboard.cells import Look
from cxrbench.leaderboard.comparison.compare import compare
from cxrbench.leaderboard.comparison.tables import comparison_to_markdown
from cxrbench.leaderboard.markdown import to_markdown
from cxrbench.leaderboard.subgroups.evaluate import by_group
from cxrbench.leaderboard.subgroups.tables import to_markdown as groups_to_markdown
from cxrbench.leaderboard.tables import build
from cxrbench.metrics.measure import NO_MEAN
from cxrbench.predictions import Predictions

N = 120


def predicted(
    encoder: str, noise: float, numbers: tuple[str, ...] = ("age", "dose"), dataset: str = "own"
) -> Predictions:
    rng = np.random.default_rng(0)
    truth = rng.normal(60, 12, (N, 2))
    truth[::7, 1] = np.nan
    scores = truth + noise * np.random.default_rng(len(encoder)).normal(size=(N, 2))
    scores[np.isnan(scores)] = 0
    rows = pd.DataFrame({"image_id": [f"i{n:03d}" for n in range(N)], "patient_id": [f"p{n // 2}" for n in range(N)]})
    rows = rows.assign(split="test", **{"score:age": scores[:, 0], "target:age": truth[:, 0]})
    rows = rows.assign(**{"score:dose": scores[:, 1], "target:dose": truth[:, 1]})
    cell = {
        "encoder": encoder,
        "dataset": dataset,
        "protocol": "regression",
        "fraction": 1.0,
        "seed": 0,
        "identity": encoder,
    }
    return Predictions(
        rows, numbers, "regression", {"macro": numbers}, synthetic=False,
        cell=cell | {"parts": {"dataset": "d"}}, dataset={"name": dataset, "notes": []},
    )  # fmt: skip


@pytest.fixture(scope="module")
def both() -> list[Predictions]:
    return [predicted("far", 9.0), predicted("nearer", 3.0)]


@pytest.fixture(scope="module")
def board(both: list[Predictions]) -> Board:
    return build(both, baseline="far", replicates=400)


@pytest.mark.parametrize("number", ["age", "dose"])
def test_both_metrics_name_the_same_winner_with_intervals(number: str) -> None:
    board = build(
        [predicted("far", 9.0, (number,)), predicted("nearer", 3.0, (number,))], baseline="far", replicates=400
    )
    heads = {(r.metric, r.encoder): r for r in board.records if r.label == HEADLINE}
    assert heads["r2", "nearer"].value > heads["r2", "far"].value
    assert heads["mae", "nearer"].value < heads["mae", "far"].value
    for metric in ("r2", "mae"):
        better, worse = heads[metric, "nearer"], heads[metric, "far"]
        assert better.p_holm < 0.001
        assert 0 < better.gain_lower < better.gain < better.gain_upper
        assert (better.tie_group, worse.tie_group) == ("a", "b")
        assert better.lower < better.value < better.upper


def test_what_a_number_rests_on_is_counted(board: Board) -> None:
    of = {r.label: r for r in board.records if r.encoder == "far" and r.metric == "r2"}
    assert (of["age"].n, of["age"].patients, of["age"].rarer) == (N, N // 2, N // 2)
    assert of["dose"].n == N - len(range(0, N, 7))


def test_the_tables_show_the_direction(board: Board) -> None:
    text = to_markdown(board, Look(labels=("all",)))
    assert "### Regression: R², mean over numbers" in text
    assert "MAE ↓" in text
    assert "| age " in text


def test_groups_of_patients(both: list[Predictions]) -> None:
    groups = {"d": {f"i{n:03d}": "F" if n % 4 < 2 else "M" for n in range(N)}}
    one = [predicted("far", 9.0, ("age",)), predicted("nearer", 3.0, ("age",))]
    found = by_group(one, groups, "sex", baseline="far", metrics=["mae"], replicates=400)
    of = {(r.encoder, r.group): r for r in found.records}
    assert of["nearer", "F"].value < of["far", "F"].value
    assert of["nearer", "F"].p_holm < 0.01
    assert {r.worst for r in found.records} == {True, False}
    assert "own:regression: MAE" in groups_to_markdown(found, {})
    several = by_group(both, groups, "sex", baseline="far", metrics=["r2", "mae"], replicates=100)
    assert {r.metric for r in several.records} == {"r2"}
    assert f"MAE: {NO_MEAN}" in groups_to_markdown(several, {})
    with pytest.raises(UserError, match=NO_MEAN):
        by_group(both, groups, "sex", metrics=["mae"], replicates=100)


def test_numbers_of_several_units_have_no_mean(both: list[Predictions], board: Board) -> None:
    """Years and a severity do not add up: the mean is undefined and not tested, each number by itself is both."""
    of = {(r.metric, r.label): r for r in board.records if r.encoder == "nearer"}
    head = of["mae", HEADLINE]
    assert np.isnan([head.value, head.lower, head.p, head.p_holm, head.gain]).all()
    assert (head.note, head.tie_group) == (NO_MEAN, "")
    assert all(of["mae", number].p_holm < 0.001 for number in ("age", "dose"))
    assert of["r2", HEADLINE].p_holm < 0.001
    assert of["r2", HEADLINE].value == pytest.approx((of["r2", "age"].value + of["r2", "dose"].value) / 2)
    assert f"MAE: {NO_MEAN}" in to_markdown(board)
    assert "mean over" not in to_markdown(build(both, metrics=["mae"], replicates=100)).partition("### Notes")[0]
    compared = compare(both, "nearer", "far", metrics=["mae"], replicates=400)
    assert {row.label for row in compared.rows if np.isnan(row.p)} == {HEADLINE}
    assert f"own:regression: MAE: macro: {NO_MEAN}" in compared.notes


@pytest.mark.parametrize("there", [("age", "age"), ("age", "dose")])
def test_columns_of_several_units_have_no_mean_either(there: tuple[str, str]) -> None:
    cells = [
        predicted(encoder, noise, (number,), dataset)
        for dataset, number in zip(("own", "other"), there, strict=True)
        for encoder, noise in (("far", 9.0), ("nearer", 3.0))
    ]
    board = build(cells, baseline="far", metrics=["mae"], replicates=100)
    assert all(r.value > 0 for r in board.records)
    alike = there == ("age", "age")
    assert bool(board.overall) == alike
    assert ("| Mean " in to_markdown(board)) == alike


def test_numbers_are_not_counted_as_positives(both: list[Predictions], board: Board) -> None:
    """An age of 5 is no positive: tables of labels and of comparisons show how many are known."""
    by_label = to_markdown(board, Look(labels=("all",)))
    compared = comparison_to_markdown(compare(both, "nearer", "far", replicates=400))
    for text in (by_label, compared):
        assert "Positives" not in text
        assert "| Images" in text
        assert f"{N} / {N}" not in text
