import warnings

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torchmetrics.functional.classification import binary_calibration_error

from cxrbench.metrics.classification import METRICS, Weights, decide, macro
from cxrbench.metrics.prepared import running
from cxrbench.metrics.ranking import OneLabel
from cxrbench.metrics.together import Together

PROBABILITY = st.floats(0, 1, width=32)
FEW = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0])  # Scores from a short list: ties everywhere.
COUNT = st.integers(0, 5)
REAL = st.one_of(st.just(0.0), st.floats(1e-3, 1e3))


@st.composite
def cases(draw):
    """Scores, targets and three weightings, integer or real-valued, zeros included."""
    n = draw(st.integers(1, 40))
    scores = draw(hnp.arrays(np.float64, n, elements=draw(st.sampled_from([PROBABILITY, FEW]))))
    targets = draw(hnp.arrays(np.float64, n, elements=st.sampled_from([0.0, 1.0])))
    if draw(st.booleans()):
        return scores, targets, draw(hnp.arrays(np.uint16, (n, 3), elements=COUNT))
    return scores, targets, draw(hnp.arrays(np.float64, (n, 3), elements=REAL))


def by_scikit_learn(name, scores, targets, weights):
    """The metric as scikit-learn computes it; NaN by our rules for what is undefined."""
    decisions = (scores >= 0.5).astype(float)
    positives, negatives = weights[targets == 1].sum(), weights[targets == 0].sum()
    if name in ("auroc", "auprc"):
        if positives == 0 or negatives == 0:
            return np.nan
        function = sk.roc_auc_score if name == "auroc" else sk.average_precision_score
        return function(targets, scores, sample_weight=weights)
    if positives + negatives == 0 or (name == "f1" and positives == 0):
        return np.nan
    if name == "f1":
        return sk.f1_score(targets, decisions, sample_weight=weights)
    if name == "accuracy":
        return sk.accuracy_score(targets, decisions, sample_weight=weights)
    return sk.brier_score_loss(targets, scores, sample_weight=weights, pos_label=1)


@pytest.mark.parametrize("name", ["auroc", "auprc", "f1", "accuracy", "brier"])
@settings(max_examples=150, deadline=None, derandomize=True)
@given(case=cases())
def test_equals_scikit_learn_with_sample_weight(name, case):
    scores, targets, weights = case
    metric = METRICS[name]
    ours = metric(decide(scores, "multilabel") if metric.on_decisions else scores, targets, weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = [by_scikit_learn(name, scores, targets, w.astype(float)) for w in weights.T]
    np.testing.assert_allclose(ours, theirs, atol=1e-9, rtol=0)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.98])
def test_large_resamples_equal_scikit_learn(share):
    """Counts in float32 are exact at a size where their products are not."""
    rng = np.random.default_rng(3)
    n = 20_000
    targets = (rng.random(n) < share).astype(float)
    scores = np.round(rng.random(n) * 0.7 + 0.3 * targets, 3)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=2).T.astype(np.uint16)
    for name in ("auroc", "auprc"):
        theirs = [by_scikit_learn(name, scores, targets, w.astype(float)) for w in weights.T]
        np.testing.assert_allclose(METRICS[name](scores, targets, weights), theirs, atol=1e-9, rtol=0)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(case=cases())
def test_weights_are_repetitions_and_missing_targets_have_none(case):
    scores, targets, weights = case
    counts = weights[:, 0].astype(int) % 4
    repeated = np.repeat(np.arange(len(scores)), counts)
    unknown = np.where(counts == 0, np.nan, targets)
    for metric in METRICS.values():
        expected = metric(scores[repeated], targets[repeated], np.ones((len(repeated), 1)))
        np.testing.assert_allclose(metric(scores, targets, counts[:, None]), expected, atol=1e-9)
        np.testing.assert_allclose(metric(scores, unknown, counts[:, None]), expected, atol=1e-9)


def test_ece_equals_torchmetrics():
    rng = np.random.default_rng(0)
    scores, targets = rng.random(500), (rng.random(500) < 0.3).astype(float)
    theirs = binary_calibration_error(torch.from_numpy(scores), torch.from_numpy(targets).int(), n_bins=15)
    assert METRICS["ece"](scores, targets, np.ones((500, 1)))[0] == pytest.approx(float(theirs), abs=1e-6)


def test_ece_of_a_calibrated_and_of_an_overconfident_forecast():
    scores = np.repeat([0.25, 1.0], 4)
    targets = np.array([0, 0, 0, 1, 1, 1, 0, 0], dtype=float)
    # First bin: calibrated. Second: 1.0 said, one half came true; half of the weight, then all of it.
    weights = np.array([[1] * 8, [0] * 4 + [1] * 4]).T
    np.testing.assert_allclose(METRICS["ece"](scores, targets, weights), [0.25, 0.5])


@pytest.mark.parametrize("name", ["auroc", "auprc"])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_one_class_only_is_undefined(name, value):
    result = METRICS[name](np.array([0.2, 0.7, 0.4]), np.full(3, value), np.ones((3, 2)))
    assert np.isnan(result).all()


def test_no_known_target_is_undefined():
    for metric in METRICS.values():
        assert np.isnan(metric(np.array([0.0, 1.0]), np.full(2, np.nan), np.ones((2, 1)))).all()


def test_f1_without_positives_is_undefined():
    assert np.isnan(METRICS["f1"](np.array([1.0, 0.0]), np.zeros(2), np.ones((2, 1)))).all()


def test_counts_beyond_float32_are_still_exact():
    weights = np.array([[2**25 + 1], [2**25 + 3], [1]])
    result = METRICS["accuracy"](np.array([1.0, 0.0, 1.0]), np.array([1.0, 1.0, 0.0]), weights)
    assert Weights.of(weights).sums.dtype == np.float64
    assert result[0] == (2**25 + 1) / (2**26 + 5)


def test_decisions():
    scores = np.array([[0.5, 0.49], [0.2, 0.3]])
    np.testing.assert_array_equal(decide(scores, "multilabel"), [[1, 0], [0, 0]])
    np.testing.assert_array_equal(decide(scores, "multiclass"), [[1, 0], [0, 1]])


def test_macro_is_undefined_where_a_label_is_and_leaves_out_what_the_test_set_leaves_undefined():
    values = np.array([[0.5, 0.7], [0.9, np.nan], [np.nan, np.nan]])
    np.testing.assert_allclose(macro(values, np.array([True, True, False])), [0.7, np.nan])
    assert np.isnan(macro(values, np.zeros(3, dtype=bool))).all()


def test_weights_must_be_a_matrix():
    with pytest.raises(ValueError, match="weights must be"):
        METRICS["auroc"](np.zeros(3), np.zeros(3), np.ones(3))


@pytest.mark.parametrize("rows", [0, 1, 2, 7, 16, 50])
def test_running_sums_are_cumulated_sums(rows):
    values = np.random.default_rng(rows).integers(0, 9, (rows, 4)).astype(np.float32)
    np.testing.assert_array_equal(running(values), values.cumsum(0))


def test_metrics_of_one_column_share_its_ranking_and_are_what_each_is_alone():
    generator = np.random.default_rng(3)
    scores, targets = generator.integers(0, 6, 40) / 5, generator.choice([0, 0, 1, np.nan], 40)
    column, weights = OneLabel(scores, targets), Weights.of(generator.poisson(1, (40, 9)))
    shared = [METRICS[name].of(column) for name in ("auroc", "auprc")]
    assert (targets == 1).sum() <= (targets == 0).sum()  # else AUROC ranks the negatives
    assert len(Together.of(shared).ranks) == 1
    alone = [METRICS[name](scores, targets, weights.sums.astype(int)) for name in ("auroc", "auprc")]
    np.testing.assert_array_equal(Together.of(shared)(weights), alone)
