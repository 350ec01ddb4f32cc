"""Check marks against a recomputation: Mann-Whitney on resampled patients, Student's t, Holm by hand."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cxrbench import api
from cxrbench.api.forms import Leaderboard
from cxrbench.engine.results import Results
from cxrbench.errors import UserError
from cxrbench.leaderboard.board import Board
from cxrbench.leaderboard.cells import Look
from cxrbench.leaderboard.marks.grid import mark_grids
from cxrbench.leaderboard.marks.markdown import to_grid
from cxrbench.leaderboard.tables import build
from cxrbench.predictions import Predictions
from cxrbench.task import Cell

STRENGTHS = {"random": 1.0, "strong": 2.2, "alike": 1.1, "lesser": 0.8, "weak": 0.2}
DATASETS = {"vindr": ("Nodule/Mass", "Effusion"), "nih": ("Effusion", "Mass"), "rsna": ("Pneumonia",)}
SIGNS = {"better": "✓✓", "above": "✓", "below": "✗", "worse": "✗✗"}


@pytest.fixture
def cells(made_up: Callable) -> list[Predictions]:
    return [made_up(e, d, s, labels=labels) for e, s in STRENGTHS.items() for d, labels in DATASETS.items()]


@pytest.fixture
def board(cells: list[Predictions]) -> Board:
    return build(cells, baseline="random", metrics=["auroc"], replicates=2000)


def auroc(rows: pd.DataFrame, label: str, weights: np.ndarray) -> np.ndarray:
    """Of weights [B, n], by counting pairs."""
    scores, positive = rows[f"score:{label}"].to_numpy(), rows[f"target:{label}"].to_numpy() == 1
    above = np.greater.outer(scores[positive], scores[~positive]).astype(float)
    one, none = weights[:, positive], weights[:, ~positive]
    return ((one @ above) * none).sum(1) / (one.sum(1) * none.sum(1))


def by_hand(cells: list[Predictions]) -> dict[tuple[str, str, str], tuple[float, float]]:
    """Gain and one-tailed p of every encoder, dataset and label; the mean over labels is ``macro``."""
    rng = np.random.default_rng(1)
    found = {}
    for dataset, labels in DATASETS.items():
        of = {
            p.cell["encoder"]: p.test_rows().sort_values("image_id") for p in cells if p.cell["dataset"] == dataset
        }  # fmt: skip
        patients = of["random"]["patient_id"].to_numpy()
        names, codes = np.unique(patients, return_inverse=True)
        counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), 2000)[:, codes].astype(float)
        weights = np.vstack([np.ones(len(patients)), counts])
        drawn = {(e, label): auroc(rows, label, weights) for e, rows in of.items() for label in labels}
        drawn |= {(e, "macro"): np.mean([drawn[e, label] for label in labels], axis=0) for e in of}
        for (e, label), values in drawn.items():
            if e != "random":
                gain = values - drawn["random", label]
                p = stats.t.sf(gain[0] / gain[1:].std(ddof=1), len(names) - 1)
                found[e, dataset, label] = (float(gain[0]), float(p))
    return found


def holm(p: dict) -> dict:
    """Step down: the smallest times all, the next times one less."""
    done, worst = {}, 0.0
    for i, key in enumerate(sorted(p, key=lambda key: p[key])):
        worst = max(worst, min(1.0, p[key] * (len(p) - i)))
        done[key] = worst
    return done


def test_marks_are_those_of_a_recomputation(cells: list[Predictions], board: Board) -> None:
    by = by_hand(cells)
    corrected: dict[str, dict] = {"up": {}, "down": {}}
    for way in corrected:
        p = {key: one if way == "up" else 1 - one for key, (_, one) in by.items()}
        corrected[way] |= holm({key: one for key, one in p.items() if key[2] == "macro"})
        for dataset in DATASETS:
            corrected[way] |= holm({key: p[key] for key in p if key[2] != "macro" and key[1] == dataset})
    seen = []
    for grid in mark_grids(board):
        for row, marks in grid.rows.items():
            for column, mark in zip(grid.columns, marks, strict=True):
                key = (grid.encoder, column.partition(":")[0], "macro" if row == "AUROC" else row)
                if key not in by or (key[1] == "rsna" and row != "AUROC"):
                    assert mark == "", key
                    continue
                up, down = corrected["up"][key], corrected["down"][key]
                if 0.03 < up < 0.08 or 0.03 < down < 0.08:  # two bootstraps may differ about these
                    continue
                gain = by[key][0]
                expected = "better" if up < 0.05 else "worse" if down < 0.05 else "above" if gain > 0 else "below"
                assert mark == expected, (key, up, down)
                seen.append(mark)
    assert len(seen) >= 18
    assert set(seen) == {"better", "above", "below", "worse"}


def test_rows_and_columns_are_those_of_the_papers_table(board: Board) -> None:
    grids = {grid.encoder: grid for grid in mark_grids(board)}
    assert list(grids) == ["alike", "lesser", "strong", "weak"]
    one = grids["strong"]
    assert one.columns == ("nih:classification (AUROC)", "rsna:classification", "vindr:classification (AUROC)")
    assert list(one.rows) == ["Effusion", "Mass", "Nodule/Mass", "AUROC"]
    assert [bool(mark) for mark in one.rows["Mass"]] == [True, False, False]
    assert [bool(mark) for mark in one.rows["AUROC"]] == [True, True, True]
    text = to_grid(board, Look(labels=("Mass",)))
    assert "Nodule" not in text
    assert "| Mass " in text


def test_the_text_counts_its_marks(board: Board) -> None:
    text = to_grid(board)
    for grid in mark_grids(board):
        tested = ", ".join(f"{grid.counts.get(mark, 0)} {sign}" for mark, sign in SIGNS.items())
        assert f"Tested: {sum(grid.counts.get(mark, 0) for mark in SIGNS)}: {tested}." in text


def test_the_same_predictions_are_neither_better_nor_worse(made_up: Callable) -> None:
    one = made_up("random")
    other = Predictions(**{**vars(one), "cell": {**one.cell, "encoder": "same"}})
    (grid,) = mark_grids(build([one, other], baseline="random", metrics=["auroc"], replicates=200))
    assert {mark for row in grid.rows.values() for mark in row} == {"below"}


def test_a_board_without_a_baseline_or_with_nobody_else_is_told(made_up: Callable) -> None:
    with pytest.raises(UserError, match="--against NAME"):
        to_grid(build([made_up("a"), made_up("b")], replicates=100))
    with pytest.raises(UserError, match="random is the only encoder"):
        to_grid(build([made_up("random")], baseline="random", replicates=100))


def test_a_board_is_tested_again_against_whom_is_asked(cells: list[Predictions], board: Board, tmp_path: Path) -> None:
    store = Results(tmp_path / "results")
    for one in cells:
        where = Cell(**{k: one.cell[k] for k in ("encoder", "dataset", "protocol", "fraction", "seed")})
        store.save(where, replace(one, encoder={**one.encoder, "fingerprint": where.encoder}))
    asked = {"metrics": ["auroc"], "replicates": 200, "cache": tmp_path / "cache"}
    found = pickle.loads(pickle.dumps(api.leaderboard(store.root, **asked)))  # it holds no predictions
    weak = api.leaderboard(store.root, baseline="weak", **asked)
    assert found.to_grid(against="weak") == weak.to_grid() == to_grid(weak.board)
    assert found.to_grid() == to_grid(found.board) != weak.to_grid()
    store.path(Cell("alike", "nih", "classification", 1.0, 0)).unlink()
    with pytest.raises(UserError, match="have changed since"):
        found.to_grid(against="weak")
    with pytest.raises(UserError, match="ask for one with baseline='weak'"):
        Leaderboard(board, Look()).to_grid(against="weak")


def test_a_label_without_a_value_is_named_below_and_has_no_row(made_up: Callable) -> None:
    def of_one_class(one: Predictions) -> Predictions:
        return Predictions(**{**vars(one), "rows": one.rows.assign(**{"target:Effusion": 0.0})})

    board = build([of_one_class(made_up(e)) for e in ("a", "random")], metrics=["auroc"], replicates=200)
    (grid,) = mark_grids(board)
    assert grid.undefined == ("Effusion",)
    assert list(grid.rows) == ["Nodule/Mass", "AUROC"]
    assert "Without a value: Effusion." in to_grid(board)
