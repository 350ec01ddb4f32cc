"""The statistics that papers print, against scikit-learn and a closed form."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrbench.leaderboard.papers.record import differs
from cxrbench.leaderboard.papers.statistics import over_folds, over_resamples
from cxrbench.predictions import Predictions


def predictions(rows: pd.DataFrame, labels: tuple[str, ...]) -> Predictions:
    cell = {"encoder": "e", "dataset": "d", "protocol": "p", "fraction": 1.0, "seed": 0}
    return Predictions(
        rows=rows, kind="multilabel", labels=labels, groups={"macro": labels}, cell=cell, encoder={}, dataset={},
        synthetic=False, notes=(),
    )  # fmt: skip


def drawn(images: int, folds: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {"image_id": [f"i{k}" for k in range(images)], "patient_id": [f"p{k // 2}" for k in range(images)],
         "split": "test", "fold": np.arange(images) % folds}
    )  # fmt: skip
    for label in ("a", "b"):
        target = rng.random(images) < 0.4
        rows[f"target:{label}"] = target.astype(float)
        rows[f"score:{label}"] = 1 / (1 + np.exp(-(target + rng.normal(0, 1, images) - 0.5)))
    return rows


def test_the_mean_and_sd_of_folds_are_those_of_scikit_learn_by_fold() -> None:
    rows = drawn(300, 5)
    parts = [part for _, part in rows.groupby("fold")]
    for metric, theirs in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
        values = {
            label: [theirs(part[f"target:{label}"], part[f"score:{label}"]) for part in parts] for label in ("a", "b")
        }
        mean = np.mean([values["a"], values["b"]], axis=0)
        found = over_folds([predictions(rows, ("a", "b"))], metric, "macro")
        assert (found.centre, found.spread) == pytest.approx((np.mean(mean), np.std(mean, ddof=1)), abs=1e-9)
        of_a = over_folds([predictions(rows, ("a", "b"))], metric, "a")
        assert of_a.centre == pytest.approx(np.mean(values["a"]), abs=1e-9)


def test_without_folds_there_is_no_mean_of_folds() -> None:
    rows = drawn(60, 5).drop(columns="fold")
    assert np.isnan(over_folds([predictions(rows, ("a", "b"))], "auroc", "macro").centre)


def test_the_median_of_resamples_is_that_of_a_binomial() -> None:
    """Accuracy over single-image patients is a share; its bootstrap is binomial, with a known median and quantiles."""
    rng, n, right = np.random.default_rng(1), 400, 300
    target = (rng.random(n) < 0.5).astype(float)
    score = np.where(np.arange(n) < right, target, 1 - target)
    rows = pd.DataFrame(
        {"image_id": [f"i{k}" for k in range(n)], "patient_id": "", "split": "test", "target:a": target,
         "score:a": score}
    )  # fmt: skip
    found = over_resamples(predictions(rows, ("a",)), "accuracy", "a", replicates=4000)
    sd = np.sqrt(0.75 * 0.25 / n)
    assert found.centre == pytest.approx(0.75, abs=0.1 * sd)
    assert (found.low, found.high) == pytest.approx((0.75 - 1.96 * sd, 0.75 + 1.96 * sd), abs=0.15 * sd)


def test_a_published_value_differs_outside_the_interval_and_its_rounding() -> None:
    assert not differs(71.04, 73.0, 71.0, 0.05)
    assert differs(71.06, 73.0, 71.0, 0.05)
    assert differs(70.0, 70.9, 71.0, 0.05)
    assert not differs(float("nan"), float("nan"), 71.0, 0.05)
    assert not differs(2.0, 3.0, None, float("nan"))
