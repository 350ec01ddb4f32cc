import json

import numpy as np
import pytest
from scipy.special import stdtrit
from scipy.stats import norm

from cxrbench.errors import UserError
from cxrbench.leaderboard.comparison.compare import compare
from cxrbench.leaderboard.comparison.tables import comparison_to_json, comparison_to_markdown
from cxrbench.leaderboard.statistics.significance import delong
from cxrbench.leaderboard.tables import build

REPLICATES = 400


def by_label(comparison, dataset="vindr"):
    return {row.label: row for row in comparison.rows if row.dataset == dataset}


def test_differences_are_those_of_the_board(made_up):
    cells = [made_up("spcl", strength=2.0), made_up("random", strength=0.3), made_up("pixels")]
    rows = by_label(compare(cells, "spcl", "random", replicates=REPLICATES))
    for one in build(cells, replicates=400, metrics=("auroc",)).records:
        if one.encoder == "spcl":
            row = rows[one.label]
            assert (row.difference, row.lower, row.upper, row.p) == (one.gain, one.gain_lower, one.gain_upper, one.p)
            assert row.difference == row.value_a - row.value_b


def test_swapping_the_encoders_turns_the_difference(made_up):
    cells = [made_up("spcl", strength=2.0), made_up("random", strength=0.3)]
    one, other = (
        by_label(compare(cells, *pair, replicates=REPLICATES))["macro"]
        for pair in (("spcl", "random"), ("random", "spcl"))
    )
    assert other.difference == -one.difference
    assert other.lower == pytest.approx(-one.upper)
    assert one.p < 0.05 < other.p
    assert one.p_two_sided == other.p_two_sided


def test_delong_stands_beside_auroc_of_each_label(made_up):
    a, b = made_up("spcl", strength=1.2), made_up("random", strength=1.0)
    rows = by_label(compare([a, b], "spcl", "random", replicates=REPLICATES))
    left, right = a.test_rows(), b.test_rows()
    scores = np.stack([left["score:Effusion"], right["score:Effusion"]])
    expected = delong(scores, left["target:Effusion"].to_numpy(), left["patient_id"].to_numpy().astype(str))
    assert rows["Effusion"].p_delong == pytest.approx(expected.contrast(np.array([1.0, -1.0]))[2])
    assert rows["Effusion"].p_delong == pytest.approx(rows["Effusion"].p, abs=0.05)
    assert np.isnan(rows["macro"].p_delong)


def test_holm_over_labels_and_apart_over_means(made_up):
    cells = [made_up(e, d, strength=s) for d in ("vindr", "siim") for e, s in (("spcl", 2.5), ("random", 0.2))]
    comparison = compare(cells, "spcl", "random", replicates=REPLICATES)
    for group in (True, False):
        rows = sorted((row for row in comparison.rows if (row.label == "macro") is group), key=lambda row: row.p)
        assert len(rows) == (2 if group else 4)
        assert rows[0].p_holm == pytest.approx(rows[0].p * len(rows))
        assert all(row.p_percentile == pytest.approx(1 / 401) for row in rows)


def test_a_margin_asks_for_no_harm_and_for_equality(made_up):
    cells = [made_up("spcl", strength=1.0), made_up("random", strength=1.0)]
    row, wide = (
        by_label(compare(cells, "spcl", "random", replicates=REPLICATES, margin=d))["macro"] for d in (0.01, 0.5)
    )
    error = (row.upper - row.lower) / 2 / stdtrit(row.patients - 1, 0.95)
    assert row.error == pytest.approx(error, rel=0.05)
    assert row.p_noninferior == pytest.approx(norm.sf((row.difference + 0.01) / error), abs=0.01)
    assert row.p_equivalent >= row.p_noninferior
    assert row.above == pytest.approx(norm.sf((0.01 - row.difference) / error), abs=0.01)
    assert wide.p_equivalent < 0.001
    text = comparison_to_markdown(compare(cells, "spcl", "random", replicates=REPLICATES, margin=0.01))
    assert "Tests made: 1 of means, 2 of labels." in text
    assert "These are not corrected for their number." in text
    assert "p (not worse)" in text
    assert "Margin 0.01" in text
    for margin in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(UserError, match=f"--margin {margin:g}: a difference that does not matter is above 0"):
            compare(cells, "spcl", "random", margin=margin)


def test_tasks_are_chosen_by_name(made_up):
    cells = [made_up(e, d) for d in ("vindr", "siim") for e in ("spcl", "random")]
    for task in ("siim", "siim:classification"):
        assert {r.dataset for r in compare(cells, "spcl", "random", tasks=[task], replicates=REPLICATES).rows} == {
            "siim"
        }
    with pytest.raises(UserError, match="no results for task 'rsna'"):
        compare(cells, "spcl", "random", tasks=["rsna"])


def test_a_task_that_one_of_them_lacks_is_left_out_and_said(made_up):
    cells = [made_up("spcl", "vindr"), made_up("spcl", "siim"), made_up("random", "vindr")]
    comparison = compare(cells, "spcl", "random", replicates=REPLICATES)
    assert {r.dataset for r in comparison.rows} == {"vindr"}
    assert comparison.notes == ("siim:classification: left out, no result of random",)


def test_several_seeds(made_up):
    cells = [made_up("spcl", seed=s, strength=2.0) for s in range(3)] + [made_up("random", seed=s) for s in range(2)]
    row = by_label(compare(cells, "spcl", "random", replicates=REPLICATES))["Effusion"]
    assert row.difference == pytest.approx(row.value_a - row.value_b)
    assert 0 <= row.p_delong <= 1


def test_markdown_and_json(made_up):
    cells = [made_up(e, d, synthetic=d == "siim") for d in ("vindr", "siim") for e in ("spcl", "random")]
    comparison = compare(cells, "spcl", "random", metrics=("auroc", "brier"), replicates=REPLICATES)
    text = comparison_to_markdown(comparison)
    assert text.startswith("# Is `spcl` better than `random`?")
    real, synthetic = text.split("## AUROC on synthetic data")
    assert "vindr" in real
    assert "siim" not in real
    assert "SYNTHETIC DATA" in synthetic
    row = by_label(comparison)["Effusion"]
    assert f"{row.difference:+.3f} [{row.lower:+.3f}, {row.upper:+.3f}]" in real
    whole = json.loads(comparison_to_json(comparison))
    assert len(whole["rows"]) == 2 * 2 * 3
    assert whole["rows"][0]["p_delong"] is None


def test_a_mistake_is_one_clear_line(made_up):
    cells = [made_up("spcl"), made_up("random", "siim")]
    with pytest.raises(UserError, match="unknown encoder 'scpl': the results have random, spcl"):
        compare(cells, "scpl", "random")
    with pytest.raises(UserError, match="with itself"):
        compare(cells, "spcl", "spcl")
    with pytest.raises(UserError, match="no task has results of both"):
        compare(cells, "spcl", "random")
    with pytest.raises(UserError, match="unknown metric"):
        compare(cells, "spcl", "random", metrics=("auc",))
