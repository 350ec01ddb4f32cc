"""A score that is missing beside a known target leaves a metric undefined; beside an unknown one it does not matter."""

import numpy as np
import pandas as pd
import pytest

from cxrbench.metrics.calibration import CALIBRATION, nll_of_classes
from cxrbench.metrics.classification import METRICS, Weights, decide
from cxrbench.metrics.kinds import KINDS
from cxrbench.metrics.retrieval import median_rank

EVERY = {**METRICS, **{f"calibration {name}": metric for name, metric in CALIBRATION.items()}}
TARGETS = np.array([0.0, 1.0, 0.0, 1.0, 1.0, 0.0])
SCORES = np.array([0.1, 0.3, 0.8, 0.9, 0.6, 0.2])
ONES = np.ones((6, 2), int)


def value(name: str, scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    metric = EVERY[name]
    given = decide(scores[:, None], "multilabel")[:, 0] if metric.on_decisions else scores
    return metric(given, targets, ONES[: len(scores)])


@pytest.mark.parametrize("name", EVERY)
def test_a_missing_score_of_a_known_target_leaves_nothing_defined(name: str) -> None:
    assert np.isfinite(value(name, SCORES, TARGETS)).all()
    for missing in ([1], [2], range(6)):
        scores = SCORES.copy()
        scores[missing] = np.nan
        assert np.isnan(value(name, scores, TARGETS)).all()


@pytest.mark.parametrize("name", EVERY)
def test_a_missing_score_of_an_unknown_target_does_not_count(name: str) -> None:
    targets, scores = TARGETS.copy(), SCORES.copy()
    targets[2] = scores[2] = np.nan
    keep = np.arange(6) != 2
    np.testing.assert_allclose(value(name, scores, targets), value(name, SCORES[keep], TARGETS[keep]), atol=1e-12)


def test_decisions_say_what_is_missing() -> None:
    scores = np.array([[0.2, np.nan], [0.7, 0.3]])
    np.testing.assert_array_equal(decide(scores, "multilabel"), [[0, np.nan], [1, 0]])
    np.testing.assert_array_equal(decide(scores, "multiclass"), [[np.nan, np.nan], [1, 0]])


def test_log_loss_of_classes_and_median_rank() -> None:
    once = Weights.of(np.ones((2, 1), int))
    assert np.isnan(nll_of_classes(np.array([[0.5, 0.5], [np.nan, 0.2]]), np.eye(2))(once)).all()
    assert np.isnan(median_rank(np.array([1.0, np.nan]), np.array([True, True]))(once)).all()
    assert median_rank(np.array([1.0, np.nan]), np.array([True, False]))(once) == [1.0]


def test_a_detection_without_a_score() -> None:
    rows = pd.DataFrame({"scores": [[0.9, np.nan]], "classes": [[0, 0]], "matches": [[255, 0]], "target:a": [1.0]})
    for measure in KINDS["detection"].measures.values():
        assert np.isnan(measure.prepare(rows, ["a"])["a"](Weights.of(np.ones((1, 1), int)))).all()
