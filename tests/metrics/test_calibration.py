import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.calibration import calibration_curve
from torchmetrics.functional.classification import binary_calibration_error

from cxrbench.metrics.calibration import CALIBRATION, MASS_BINS, mass_bins, nll_of_classes
from cxrbench.metrics.classification import METRICS, Weights

FEW = st.sampled_from([0.0, 1e-300, 0.1, 0.25, 0.5, 0.75, 1.0])  # Scores from a short list: ties and certainties.


@st.composite
def cases(draw):
    """Scores, targets (some unknown) and three weightings, integer or real-valued, zeros included."""
    n = draw(st.integers(1, 60))
    scores = draw(hnp.arrays(np.float64, n, elements=draw(st.sampled_from([st.floats(0, 1), FEW]))))
    targets = draw(hnp.arrays(np.float64, n, elements=st.sampled_from([0.0, 1.0, np.nan])))
    if draw(st.booleans()):
        return scores, targets, draw(hnp.arrays(np.uint16, (n, 3), elements=st.integers(0, 5)))
    real = st.one_of(st.just(0.0), st.floats(1e-3, 1e3))
    return scores, targets, draw(hnp.arrays(np.float64, (n, 3), elements=real))


def of(name, scores, targets, weights):
    return CALIBRATION[name](scores, targets, weights)


def forecasts(n=4000, seed=0, share=0.2):
    """Overconfident forecasts of a finding that ``share`` of the images have."""
    rng = np.random.default_rng(seed)
    targets = (rng.random(n) < share).astype(float)
    return 1 / (1 + np.exp(-3 * (rng.standard_normal(n) + 1.5 * targets - 1.2))), targets


@settings(max_examples=80, deadline=None, derandomize=True)
@given(case=cases())
def test_the_parts_add_up_to_the_brier_score_under_any_weights(case):
    parts = {name: of(name, *case) for name in CALIBRATION}
    total = parts["reliability"] - parts["resolution"] + parts["uncertainty"] + parts["within_bins"]
    np.testing.assert_allclose(total, parts["brier"], atol=1e-12, rtol=0)
    assert (parts["reliability"][~np.isnan(parts["reliability"])] >= 0).all()


@settings(max_examples=80, deadline=None, derandomize=True)
@given(case=cases())
def test_equals_scikit_learn_with_sample_weight(case):
    scores, targets, weights = case
    known = ~np.isnan(targets)
    for j, w in enumerate(weights.T.astype(float)):
        if w[known].sum() == 0:
            assert all(np.isnan(of(name, *case)[j]) for name in CALIBRATION)
            continue
        s, t, w = scores[known], targets[known], w[known]
        theirs = {
            "brier": sk.brier_score_loss(t, s, sample_weight=w, labels=[0, 1]),
            "nll": sk.log_loss(t, s, sample_weight=w, labels=[0, 1]),
            "uncertainty": np.average((t - np.average(t, weights=w)) ** 2, weights=w),
        }
        for name, value in theirs.items():
            assert of(name, *case)[j] == pytest.approx(value, abs=1e-9)
        # scikit-learn's R2 is the skill against the weighted mean of the targets, which is the prevalence.
        if 0 < (w * t).sum() < w.sum() - 1e-9:
            skill = sk.r2_score(t, s, sample_weight=w)
            assert of("brier_skill", *case)[j] == pytest.approx(skill, abs=1e-9, rel=1e-9)


@pytest.mark.parametrize("decimals", [1, 8])
def test_bins_are_those_of_scikit_learns_calibration_curve(decimals):
    scores, targets = forecasts()
    scores = np.round(scores, decimals)
    observed, said = calibration_curve(targets, scores, n_bins=MASS_BINS, strategy="quantile")
    bins = mass_bins(scores, targets)
    share = np.array([(bins == b).mean() for b in np.unique(bins)])
    ones = np.ones((len(scores), 1))
    expected = {
        "reliability": share @ (said - observed) ** 2,
        "resolution": share @ (observed - targets.mean()) ** 2,
        "ece_mass": share @ abs(said - observed),
        "mce": abs(said - observed).max(),
    }
    for name, value in expected.items():
        assert of(name, scores, targets, ones)[0] == pytest.approx(value, abs=1e-12)


def test_equal_mass_bins_of_uniform_scores_are_torchmetrics_bins_of_equal_width():
    rng = np.random.default_rng(0)
    scores = (rng.permutation(1500) + 0.5) / 1500  # 100 in each fifteenth of [0, 1]
    targets = (rng.random(1500) < scores**2).astype(float)
    ones = np.ones((1500, 1))
    tensors = torch.from_numpy(scores), torch.from_numpy(targets).int()
    ece, mce = binary_calibration_error(*tensors, 15, "l1"), binary_calibration_error(*tensors, 15, "max")
    assert of("ece_mass", scores, targets, ones)[0] == pytest.approx(float(ece), abs=1e-6)
    assert of("mce", scores, targets, ones)[0] == pytest.approx(float(mce), abs=1e-6)
    np.testing.assert_allclose(of("ece_mass", scores, targets, ones), METRICS["ece"](scores, targets, ones), atol=1e-12)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(case=cases())
def test_integer_weights_are_repetitions_in_the_same_bins(case):
    """Repeated physically, with the bins of the set as it is: what a resample is to the bootstrap."""
    scores, targets, weights = case
    counts = weights[:, 0].astype(int) % 4
    repeated = np.repeat(np.arange(len(scores)), counts)
    repeated = repeated[~np.isnan(targets[repeated])]
    bins, s, t = mass_bins(scores, targets)[repeated], scores[repeated], targets[repeated]
    for name in ("brier", "uncertainty", "brier_skill", "nll"):
        np.testing.assert_allclose(of(name, scores, targets, counts[:, None]), of(name, s, t, np.ones((len(s), 1))))
    if len(s):
        members = [bins == b for b in np.unique(bins)]
        gaps = np.array([s[m].mean() - t[m].mean() for m in members])
        share = np.array([m.mean() for m in members])
        values = {"reliability": share @ gaps**2, "ece_mass": share @ abs(gaps), "mce": abs(gaps).max()}
        values["resolution"] = share @ np.array([(t[m].mean() - t.mean()) ** 2 for m in members])
        for name, value in values.items():
            np.testing.assert_allclose(of(name, scores, targets, counts[:, None]), [value], atol=1e-9)


def test_bins_ignore_unknown_targets_and_stay_when_weights_change():
    scores, targets = forecasts(n=300)
    hidden = np.concatenate([targets, np.full(300, np.nan)])
    wild = np.concatenate([scores, np.linspace(0, 1, 300)])
    np.testing.assert_array_equal(mass_bins(wild, hidden)[:300], mass_bins(scores, targets))
    weights = np.zeros((300, 1))
    weights[scores > np.median(scores)] = 1
    assert of("ece_mass", scores, targets, weights) != of(
        "ece_mass", scores[weights[:, 0] == 1], targets[weights[:, 0] == 1], np.ones((int(weights.sum()), 1))
    )


def test_always_saying_the_prevalence_has_no_skill_and_is_reliable():
    _, targets = forecasts()
    said, ones = np.full(len(targets), targets.mean()), np.ones((len(targets), 1))
    for name in ("brier_skill", "reliability", "resolution", "within_bins", "ece_mass", "mce"):
        assert of(name, said, targets, ones)[0] == pytest.approx(0, abs=1e-12)
    assert of("brier_skill", targets, targets, ones)[0] == 1


def test_skill_of_one_class_is_undefined_and_a_certain_error_costs_36_nats():
    assert np.isnan(of("brier_skill", np.array([0.1, 0.3]), np.zeros(2), np.ones((2, 1)))[0])
    assert of("nll", np.array([1.0]), np.zeros(1), np.ones((1, 1)))[0] == pytest.approx(52 * np.log(2))


def test_log_loss_of_classes_equals_scikit_learn():
    rng = np.random.default_rng(0)
    scores = rng.dirichlet(np.ones(3), 50)
    truth, weights = rng.integers(0, 3, 50), rng.integers(0, 4, (50, 2))
    targets = np.eye(3)[truth]
    targets[:5] = np.nan
    ours = nll_of_classes(scores, targets)(Weights.of(weights))
    theirs = [sk.log_loss(truth[5:], scores[5:], sample_weight=w[5:], labels=[0, 1, 2]) for w in weights.T]
    np.testing.assert_allclose(ours, theirs, atol=1e-9)
