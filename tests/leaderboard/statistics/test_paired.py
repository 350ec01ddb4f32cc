"""Improvements of pairs of encoders: all at once are as one by one."""

from dataclasses import replace

import numpy as np
import pytest

from cxrbench.leaderboard.statistics.evaluate import Estimate
from cxrbench.leaderboard.statistics.inference import Components, moderated
from cxrbench.leaderboard.statistics.paired import Pairs, improvement, p_of_pairs, pairs
from cxrbench.metrics.kinds import KINDS

AUROC, BRIER = (KINDS["multilabel"].measures[name] for name in ("auroc", "brier"))


def estimates(seeds=1, undefined=0):
    """Of four encoders, two of them with the same predictions."""
    rng = np.random.default_rng(0)
    patients = rng.normal(0, 0.03, 400)
    made = {}
    for i, name in enumerate(("a", "b", "c", "d")):
        drawn = 0.7 + 0.05 * i + patients + rng.normal(0, 0.01, (seeds, 400))
        drawn[:, :undefined] = np.nan
        made[name] = Estimate(np.full(seeds, 0.7 + 0.05 * i), drawn, tuple(range(seeds)), 20.0 + i, np.empty(0))
    return {**made, "same as b": replace(made["b"], replicates=made["b"].replicates.copy())}


@pytest.mark.parametrize("measure", [AUROC, BRIER])
@pytest.mark.parametrize("how", [{}, {"seeds": 2}, {"undefined": 8}, {"undefined": 100}])
def test_all_pairs_at_once_are_as_one_by_one(measure, how):
    of = estimates(**how)
    found = pairs(of, measure)
    assert list(found)[:4] == [("a", b) for b in ("b", "c", "d", "same as b")]
    assert len(found) == 10
    for (a, b), one in found.items():
        apart = improvement(of[a], of[b], measure)
        assert one.value == apart.value
        assert one.note == apart.note
        numbers = [(x.patients, x.patients_df, x.between, x.shared, x.seeds_df) for x in (one, apart)]
        assert numbers[0] == pytest.approx(numbers[1], rel=1e-12, nan_ok=True)
    if not how.get("undefined"):
        assert found["b", "same as b"].patients == 0


def test_the_variance_is_that_of_the_differences():
    of = estimates()
    one = pairs(of, AUROC)["a", "c"]
    assert one.patients == pytest.approx(np.var((of["a"].replicates - of["c"].replicates)[0], ddof=1), rel=1e-12)
    assert one.value == pytest.approx(-0.1)


def test_a_value_that_is_undefined_is_not_paired():
    of = estimates()
    of["a"] = replace(of["a"], points=np.array([np.nan]))
    assert pairs(of, AUROC)["a", "b"].note == "undefined on this test set"
    assert not pairs(of, AUROC)["b", "c"].note


@pytest.mark.parametrize("seeds", [1, 3])
def test_p_of_all_pairs_at_once_are_those_of_each(seeds):
    of = estimates(seeds=seeds)
    of["a"] = replace(of["a"], points=np.full(seeds, np.nan))
    several = [pairs(of, AUROC), dict(pairs(estimates(seeds=seeds, undefined=100), BRIER))]
    expected = [one.p_two_sided() for one in moderated([c for each in several for c in each.values()])]
    found = p_of_pairs(several)
    np.testing.assert_array_equal(found, expected)
    assert np.isnan(found).any()
    assert 1.0 in p_of_pairs([pairs({name: of[name] for name in ("b", "same as b")}, AUROC)])


def test_pairs_are_a_mapping_of_what_they_were_made_of():
    one = Components(0.1, 0.01, 9.0, 0.2, 0.1, 2.0)
    of = {("a", "b"): one, ("a", "c"): replace(one, value=0.3, note="why"), ("b", "c"): replace(one, note="")}
    assert dict(Pairs.of(of)) == of
    assert Pairs.of(Pairs.of(of)) == of
