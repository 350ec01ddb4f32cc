"""Variances from patients and seeds: against closed forms, and against simulated truth."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit, polygamma
from scipy.stats import norm, t

from cxrbench.leaderboard.statistics.inference import (
    Components,
    Uncertain,
    _prior,
    components,
    moderated,
)
from cxrbench.leaderboard.statistics.significance import ALPHA, GAIN_LEVEL, holm


def test_one_seed_is_students_t_on_the_bootstrap_error():
    drawn = np.random.default_rng(0).normal(0.03, 0.01, 500)
    (one,) = moderated([components(np.array([0.03]), drawn[None], 40.0)])
    error = drawn.std(ddof=1)
    assert one.error == pytest.approx(error)
    assert one.p() == pytest.approx(t.sf(0.03 / error, 40))
    assert one.p_two_sided() == pytest.approx(2 * t.sf(0.03 / error, 40))
    limits = one.interval(0.9)
    assert (limits.lower, limits.upper) == pytest.approx(t.interval(0.9, 40, 0.03, error))


def test_shares_have_their_interval_on_the_logit_scale():
    one = Uncertain(0.95, 0.02**2, 1e12)
    limits, width = one.interval_of_share(0.95), norm.ppf(0.975) * 0.02 / (0.95 * 0.05)
    assert (limits.lower, limits.upper) == pytest.approx(tuple(expit(logit(0.95) + width * np.array([-1, 1]))))
    assert "no interval: the value is 1" in Uncertain(1.0, 0.0, 9.0).interval_of_share(0.95).note


def test_the_variance_that_patients_and_seeds_share_is_found():
    """x = patient + seed + both: V_P has the patients' and a third of what is shared, `between` a third of two."""
    rng = np.random.default_rng(1)
    n, seeds = 4_000, 3
    counts = rng.multinomial(n, np.full(n, 1 / n), size=400) / n
    rows = rng.normal(0, 1, (1, n)) + rng.normal(0, 2, (seeds, n))
    one = components(rows.mean(1), rows @ counts.T, n - 1.0)
    assert one.patients == pytest.approx((1 + 4 / 3) / n, rel=0.15)
    assert one.shared == pytest.approx(4 / 3 / n, rel=0.15)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    value=st.floats(-1, 1), patients=st.floats(1e-4, 0.1), seeds=st.floats(0, 0.1), df=st.floats(1, 50),
    seeds_df=st.integers(1, 6),
)  # fmt: skip
def test_a_mark_and_its_interval_never_disagree(value, patients, seeds, df, seeds_df):
    one = Uncertain(value, patients, df, seeds, seeds_df)
    lower = one.interval(GAIN_LEVEL).lower
    if abs(lower) > 1e-6:
        assert (one.p() < ALPHA) == (lower > 0)
    assert one.p() + Uncertain(-value, patients, df, seeds, seeds_df).p() == pytest.approx(1)
    assert one.p_two_sided() == pytest.approx(2 * min(one.p(), 1 - one.p()), abs=1e-9)
    assert one.p(0.5) == pytest.approx(Uncertain(value - 0.5, patients, df, seeds, seeds_df).p())


def test_what_was_not_measured_has_no_p_and_the_same_predictions_have_one():
    unknown = Uncertain(0.1, math.nan, 9.0, note="why")
    assert np.isnan([unknown.p(), unknown.p_two_sided(), unknown.interval(0.9).lower]).all()
    same = Uncertain(0.0, 0.0, 9.0)
    assert (same.p(), same.p_two_sided(), same.interval(0.9).lower) == (1.0, 1.0, 0.0)
    assert math.isnan(Uncertain(0.1, 0.0, 9.0).p())


def test_undefined_replicates_are_left_out_and_above_five_percent_there_is_no_variance():
    drawn = np.linspace(0, 1, 100)
    drawn[:5] = np.nan
    assert components(np.array([0.5]), drawn[None], 9.0).patients == pytest.approx(np.nanvar(drawn, ddof=1))
    drawn[5] = np.nan
    one = components(np.array([0.5]), drawn[None], 9.0)
    assert math.isnan(one.patients)
    assert one.note == "no interval: undefined in 6% of replicates"


def test_a_prior_of_any_strength_is_found():
    """Variances whose logarithms vary by trigamma(1/2) + trigamma(d0/2) have that d0."""
    for half in (0.5, 3.0, 200.0):
        spread = np.sqrt(float(polygamma(1, 0.5)) + float(polygamma(1, half)))
        logs = np.array([-1.0, 1.0]).repeat(5_000) * spread * np.sqrt(9_999 / 10_000)
        assert _prior(np.exp(logs), np.ones(len(logs)))[0] == pytest.approx(2 * half, rel=1e-6)


def test_the_prior_is_that_which_the_variances_were_drawn_from():
    """Scaled inverse chi-square variances, as in Smyth (2004), section 3: d0 = 8, s0² = 2."""
    rng = np.random.default_rng(3)
    df = np.full(20_000, 3.0)
    variances = 2 * 8 / rng.chisquare(8, len(df)) * rng.chisquare(df) / df
    prior_df, prior = _prior(variances, df)
    assert prior_df == pytest.approx(8, rel=0.1)
    assert prior == pytest.approx(2, rel=0.05)
    assert _prior(rng.chisquare(df[:50]) / df[:50], df[:50])[0] > 50  # all alike


def family(rng: np.random.Generator, seeds: int, ratio: float, columns: int = 5) -> list[Components]:
    """Null differences of 5 encoders to a baseline; seeds vary ``ratio`` times as much as patients do."""
    n, found = 100, []
    counts = rng.multinomial(n, np.full(n, 1 / n), size=150) / n
    for _ in range(columns):
        rows = rng.normal(0, 1, (6, 1, n)) + rng.normal(0, 0.7, (6, seeds, n))
        rows += ratio * np.sqrt(1 / n) * rng.normal(0, 1, (6, seeds, 1))
        points, drawn = rows.mean(2), rows @ counts.T
        found += [components(points[i] - points[0], drawn[i] - drawn[0], n - 1.0) for i in range(1, 6)]
    return found


@pytest.mark.parametrize(("seeds", "ratio"), [(1, 0.0), (2, 1.0), (3, 3.0)])
def test_a_null_table_has_few_stars_and_its_intervals_cover(seeds, ratio):
    """benchmarks/validity.py has the whole table; here 60 of its trials each."""
    rng = np.random.default_rng(10 * seeds)
    starred, covered = 0, []
    for _ in range(60):
        gains = moderated(family(rng, seeds, ratio))
        starred += min(holm([gain.p() for gain in gains])) < ALPHA
        covered += [abs(gain.value) <= gain.half_width(0.025) for gain in gains]
    assert starred <= 8  # of 60 at 5%: nine or more have a probability of 0.4%
    assert np.mean(covered) == pytest.approx(0.95, abs=0.03)
