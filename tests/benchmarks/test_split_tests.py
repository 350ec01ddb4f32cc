"""AUROC over several splits: the values are scikit-learn's, and the test holds its level."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cxrbench.predictions import Predictions
from evidence.split_tests import difference, over_splits, scored_labels

PATIENTS = 120


def of_splits(signal: float, truth: int, noise: int, images: int = 2) -> list[Predictions]:
    """Predictions on three splits, each of half of the patients: scores are truth times ``signal``, and noise."""
    rng, random = np.random.default_rng(truth), np.random.default_rng([truth, noise])
    targets, made = rng.integers(0, 2, PATIENTS * images), []
    for _ in range(3):
        chosen = np.sort(rng.permutation(PATIENTS)[: PATIENTS // 2])
        rows = (chosen[:, None] * images + np.arange(images)).ravel()
        scores = signal * targets[rows] + random.normal(size=len(rows))
        frame = pd.DataFrame({
            "image_id": [f"i{row:04}" for row in rows], "patient_id": [f"p{row // images:03}" for row in rows],
            "split": "test", "target:a": targets[rows].astype(float), "score:a": scores,
            "target:rare": (rows == rows[0]).astype(float), "score:rare": scores,
        })  # fmt: skip
        made.append(Predictions(frame, ("a", "rare"), "multilabel", {}, True))
    return made


def test_labels_that_some_split_has_too_few_of_are_not_scored() -> None:
    assert scored_labels(of_splits(1.0, 0, 0)) == ("a",)


def test_values_are_those_of_scikit_learn() -> None:
    splits = of_splits(1.0, 0, 0)
    found = over_splits(splits, ("a",), replicates=50)
    expected = [roc_auc_score(one.rows["target:a"], one.rows["score:a"]) for one in splits]
    np.testing.assert_allclose(found.values, expected)
    assert found.replicates.mean() == pytest.approx(np.mean(expected), abs=0.02)


def test_patients_are_drawn_alike_for_all_encoders_and_split_by_split() -> None:
    splits = of_splits(1.0, 0, 0)
    same = difference(over_splits(splits, ("a",), 200), over_splits(splits, ("a",), 200))
    assert (same.value, same.interval(0.95).lower, same.interval(0.95).upper) == (0.0, 0.0, 0.0)
    # One patient who is tested in all splits is drawn as often in each: three equal splits vary as one does.
    thrice, once = (over_splits(one, ("a",), 400).replicates.std() for one in ([splits[0]] * 3, splits[:1]))
    assert thrice == pytest.approx(once)


def test_a_better_encoder_is_found_and_equal_ones_are_told_apart_as_often_as_chance_has_it() -> None:
    better, worse = over_splits(of_splits(2.0, 0, 1), ("a",), 500), over_splits(of_splits(0.5, 0, 2), ("a",), 500)
    assert difference(better, worse).p() < 0.01
    assert difference(worse, better).p() > 0.99
    below = 0
    for number in range(12):
        one, other = (over_splits(of_splits(1.0, number, noise), ("a",), 40) for noise in (1, 2))
        below += difference(one, other).p() < 0.2
    assert below < 7  # of 12 at a level of 0.2: seven have a chance of 0.004
