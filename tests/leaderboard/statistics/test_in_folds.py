"""What ranks rows is computed in each fold of a cross-validation, never across the models of several."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxrbench.leaderboard.statistics.alignment import align, by_task
from cxrbench.leaderboard.statistics.evaluate import evaluate
from cxrbench.leaderboard.tables import build
from cxrbench.metrics.kinds import KINDS


def folded(made_up, encoder, strength, shift):
    """Five folds by patient; the model of fold k says ``shift`` * k more of every image, sick or not."""
    one = made_up(encoder, strength=strength, labels=("Effusion",), n=400)
    rows = one.rows.copy()
    rows["fold"] = rows["patient_id"].map(lambda p: sum(map(ord, p)) % 5)
    logits = np.log(rows["score:Effusion"] / (1 - rows["score:Effusion"])) + shift * rows["fold"]
    rows["score:Effusion"] = 1 / (1 + np.exp(-logits))
    cell = {**one.cell, "protocol": "classification+folds5"}
    return type(one)(**{**one.__dict__, "rows": rows, "cell": cell})


def test_auroc_is_the_mean_over_folds_by_their_patients(made_up):
    one = folded(made_up, "spcl", 1.5, 2.0)
    rows = one.test_rows()
    by_fold = rows.groupby("fold")
    values = by_fold.apply(lambda f: roc_auc_score(f["target:Effusion"], f["score:Effusion"]))
    patients = by_fold["patient_id"].nunique()
    board = build([one], replicates=100, metrics=("auroc", "brier"))
    record = next(r for r in board.records if (r.metric, r.label) == ("auroc", "macro"))
    assert record.value == pytest.approx(np.average(values, weights=patients))
    assert record.sd_folds == pytest.approx(values.std(ddof=1))
    brier = next(r for r in board.records if (r.metric, r.label) == ("brier", "macro"))
    assert brier.value == pytest.approx(((rows["score:Effusion"] - rows["target:Effusion"]) ** 2).mean())
    assert np.isnan(brier.sd_folds)


def test_folds_on_other_scales_do_not_turn_a_ranking_round(made_up):
    better, worse = folded(made_up, "better", 1.6, 3.0), folded(made_up, "worse", 1.0, 0.0)
    pooled = [roc_auc_score(x.test_rows()["target:Effusion"], x.test_rows()["score:Effusion"]) for x in (better, worse)]
    assert pooled[0] < pooled[1]
    board = build([better, worse], replicates=100, baseline="worse", metrics=("auroc",))
    values = {r.encoder: r.value for r in board.records if r.label == "macro"}
    assert values["better"] > values["worse"]


def test_resamples_are_those_of_all_patients(made_up):
    """A replicate's weights of a fold are those that its rows have in the whole test set."""
    one = folded(made_up, "spcl", 1.5, 0.0)
    ((task, cells),) = by_task([one]).items()
    tests = align(task, cells)
    found = evaluate(tests, KINDS["multilabel"].measures["auroc"], 50, 0).estimates["spcl"]["Effusion"]
    assert found.replicates.shape == (1, 50)
    assert 0 < found.replicates.std() < 0.1
    assert len(found.folds) == 5
