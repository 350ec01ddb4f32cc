import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from cxrbench.leaderboard.statistics.significance import (
    delong,
    holm,
    smallest_detectable_difference,
    tie_groups,
)
from support import asah


def test_holm_example():
    # Wikipedia, "Holm-Bonferroni method": p = 0.01, 0.04, 0.03, 0.005 reject the first and the last at 5%.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_does_not_count_tests_that_were_not_made():
    adjusted = holm([0.01, np.nan, 0.04])
    assert adjusted[::2] == pytest.approx([0.02, 0.04])
    assert np.isnan(adjusted[1])


@settings(max_examples=200, deadline=None, derandomize=True)
@given(p=st.lists(st.floats(0, 1), max_size=8), level=st.floats(0.001, 0.999))
def test_holm_rejects_what_stepping_down_rejects(p, level):
    rejected = set()
    for step, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        if p[i] * (len(p) - step) > level:
            break
        rejected.add(i)
    assert {i for i, adjusted in enumerate(holm(p)) if adjusted <= level} == rejected


@st.composite
def separations(draw):
    k = draw(st.integers(1, 7))
    upper = np.triu(np.array(draw(st.lists(st.booleans(), min_size=k * k, max_size=k * k))).reshape(k, k), 1)
    values = draw(st.lists(st.floats(0, 1), min_size=k, max_size=k))
    return values, upper | upper.T


@settings(max_examples=300, deadline=None, derandomize=True)
@given(case=separations())
def test_two_encoders_share_a_letter_if_and_only_if_no_test_separates_them(case):
    values, separated = case
    letters = [set(text) for text in tie_groups(values, separated)]
    for i, mine in enumerate(letters):
        assert mine
        for j, others in enumerate(letters):
            assert bool(mine & others) == (not separated[i, j])
    for letter in set().union(*letters):  # No letter that could be left out.
        without = [mine - {letter} for mine in letters]
        pairs = [(i, j) for i in range(len(values)) for j in range(i + 1) if not separated[i, j]]
        assert any(not (without[i] & without[j]) for i, j in pairs)


def test_letters_run_from_the_best_down():
    separated = np.array([[0, 1, 1], [1, 0, 0], [1, 0, 0]], dtype=bool)
    assert tie_groups([0.9, 0.7, 0.8], separated) == ["a", "b", "b"]
    chain = np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]], dtype=bool)
    assert tie_groups([0.7, 0.8, 0.9], chain) == ["b", "ab", "a"]


def test_smallest_detectable_difference_has_the_power_it_says():
    for tests in (1, 26):
        detectable = smallest_detectable_difference(0.01, tests)
        power = norm.sf(norm.isf(0.05 / tests), loc=detectable / 0.01)
        assert power == pytest.approx(0.80)


def delong_by_definition(scores, targets):
    """DeLong et al. (1988), equations 3 to 7, by comparing every positive with every negative."""
    positive, negative = scores[:, targets == 1], scores[:, targets == 0]
    wins = (positive[:, :, None] > negative[:, None, :]) + 0.5 * (positive[:, :, None] == negative[:, None, :])
    v10, v01 = wins.mean(2), wins.mean(1)
    return wins.mean((1, 2)), np.cov(v10) / v10.shape[1] + np.cov(v01) / v01.shape[1]


def test_delong_equals_its_definition_and_scikit_learn():
    rng = np.random.default_rng(2)
    targets = (rng.random(80) < 0.3).astype(float)
    scores = np.round(rng.standard_normal((3, 80)) + targets, 1)
    ours = delong(scores, targets, np.arange(80))
    aurocs, covariance = delong_by_definition(scores, targets)
    np.testing.assert_allclose(ours.aurocs, aurocs, atol=1e-12)
    np.testing.assert_allclose(ours.aurocs, [roc_auc_score(targets, s) for s in scores], atol=1e-12)
    np.testing.assert_allclose(ours.covariance, covariance, atol=1e-12)


def test_delong_sees_that_a_repeated_image_brings_nothing_new():
    """Every image twice, as one patient: the variance is (nearly) that of the images once."""
    rng = np.random.default_rng(4)
    targets = (rng.random(200) < 0.4).astype(float)
    scores = rng.standard_normal((1, 200)) + targets
    once = delong(scores, targets, np.arange(200)).covariance.item()
    twice = delong(np.repeat(scores, 2, axis=1), np.repeat(targets, 2), np.repeat(np.arange(200), 2))
    assert twice.covariance.item() == pytest.approx(once, rel=1e-9)
    unaware = delong(np.repeat(scores, 2, axis=1), np.repeat(targets, 2), np.arange(400)).covariance.item()
    assert unaware == pytest.approx(once / 2, rel=0.02)


def test_delong_leaves_out_unknown_targets_and_is_undefined_with_one_class():
    rng = np.random.default_rng(6)
    targets = np.array([0, 1, 0, 1, 1, 0, np.nan, np.nan])
    scores = rng.random((2, 8))
    some, whole = delong(scores, targets, np.arange(8)), delong(scores[:, :6], targets[:6], np.arange(6))
    np.testing.assert_allclose(some.covariance, whole.covariance)
    assert np.isnan(delong(scores, np.zeros(8), np.arange(8)).aurocs).all()


def test_delong_says_what_proc_says_of_its_asah_data():
    names = ["wfns", "ndka", "s100b"]
    found = delong(np.stack([asah.WFNS, asah.NDKA, asah.S100B]), asah.POOR.astype(float), np.arange(len(asah.POOR)))
    for name, auroc in asah.AUROC.items():
        assert found.aurocs[names.index(name)] == pytest.approx(auroc, abs=1e-12)
    _, error, _ = found.contrast(np.array([0.0, 1.0, 0.0]))
    limits = norm.interval(0.95, asah.AUROC["ndka"], error)
    assert limits == pytest.approx(asah.NDKA_INTERVAL, abs=1e-12)
    for (a, b), (z, p, limits) in asah.TESTS.items():
        value, error, one_tailed = found.contrast(np.array([float(n == a) - float(n == b) for n in names]))
        assert value / error == pytest.approx(z, abs=1e-10)
        assert 2 * min(one_tailed, 1 - one_tailed) == pytest.approx(p, abs=1e-12)
        assert norm.interval(0.95, value, error) == pytest.approx(limits, abs=1e-12)
