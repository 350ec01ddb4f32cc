"""The Bayesian signed-rank test: closed forms where all gains are alike, and a plain loop."""

import numpy as np
import pytest
from scipy.special import betainc

from cxrbench.leaderboard.statistics.signed_rank import over_datasets


@pytest.mark.parametrize("n", [5, 9])
def test_where_all_gains_are_alike_only_the_weight_of_the_prior_decides(n):
    """Its weight is Beta(1/2, n). Above 2 ropes only the prior with itself is in the rope, below it with all others."""
    far = over_datasets(np.linspace(0.021, 0.05, n), 0.01, 0)
    assert far.better == pytest.approx(betainc(0.5, n, np.sqrt(0.5)), abs=0.005)
    near = over_datasets(np.linspace(0.011, 0.019, n), 0.01, 0)
    assert near.better == pytest.approx(betainc(0.5, n, 1 - np.sqrt(0.5)), abs=0.007)
    assert near.better + near.equal == pytest.approx(1)
    assert over_datasets(-np.linspace(0.011, 0.019, n), 0.01, 0).worse == near.better


def test_it_is_what_a_plain_loop_over_draws_finds():
    gains = np.array([0.03, -0.004, 0.012, 0.02, -0.03, 0.008])
    generator, z = np.random.default_rng(1), [0.0, *gains]
    found = np.zeros(3)
    for w in generator.dirichlet([0.5, *np.ones(6)], 3_000):
        thirds = [0.0, 0.0, 0.0]
        for wi, zi in zip(w, z, strict=True):
            for wj, zj in zip(w, z, strict=True):
                thirds[0 if zi + zj > 0.02 else 2 if zi + zj < -0.02 else 1] += wi * wj
        found[np.argmax(thirds)] += 1 / 3_000
    assert tuple(over_datasets(gains, 0.01, 0)) == pytest.approx(tuple(found), abs=0.04)


def test_four_data_sets_are_too_few():
    assert np.isnan(over_datasets(np.full(4, 0.1), 0.01, 0)).all()
