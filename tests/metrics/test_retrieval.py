"""Retrieval metrics against scikit-learn and NumPy; weights against physical duplication. (mAP@R: test_retrieval.)"""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import r2_score

from cxrbench.metrics.classification import Weights
from cxrbench.metrics.kinds import KINDS
from cxrbench.metrics.retrieval import MEASURES, mean_over_queries, median_rank, r2

ONE = Weights.of(np.ones((40, 1), np.uint16))


def queries(n: int = 40, seed: int = 0) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    """A generator, ranks with ties, and which queries count: most."""
    rng = np.random.default_rng(seed)
    return rng, rng.integers(1, 15, n).astype(float), rng.random(n) < 0.8


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_median_rank_is_numpys_of_the_repeated_ranks(seed: int, n: int) -> None:
    rng, ranks, counted = queries(n, seed)
    weights = rng.integers(0, 4, (n, 30))
    values = median_rank(np.where(counted, ranks, np.nan), counted)(Weights.of(weights))
    for value, column in zip(values, weights.T, strict=True):
        repeated = np.repeat(ranks[counted], column[counted])
        np.testing.assert_equal(value, np.median(repeated) if len(repeated) else np.nan)


def test_median_rank_takes_real_weights_and_large_counts() -> None:
    counted = np.ones(3, bool)
    of = median_rank(np.array([5.0, 1.0, 9.0]), counted)
    assert of(Weights.of(np.array([[0.3], [0.2], [0.1]]))).tolist() == [5.0]
    assert of(Weights.of(np.array([[2**22], [1], [2**22 + 1]]))).tolist() == [7.0]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_mean_over_queries_is_numpys_average(seed: int) -> None:
    rng, _, counted = queries(seed=seed)
    values, weights = np.where(counted, rng.random(40), np.nan), rng.random((40, 7))
    expected = [np.average(values[counted], weights=w[counted]) for w in weights.T]
    np.testing.assert_allclose(mean_over_queries(values, counted)(Weights.of(weights)), expected, rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(-1e3, 1e3))
def test_r2_is_scikit_learns_weighted_by_variance(seed: int, offset: float) -> None:
    rng, _, counted = queries(seed=seed)
    truth = rng.normal(size=(40, 6)) * rng.uniform(0.1, 3, 6) + offset
    guess = truth + rng.normal(size=(40, 6))
    errors = ((truth - guess) ** 2).sum(1)
    counts = rng.integers(0, 4, (40, 5))
    for weights in (np.ones((40, 1), np.uint16), counts, rng.random((40, 5))):
        expected = [
            r2_score(truth[counted], guess[counted], sample_weight=w[counted], multioutput="variance_weighted")
            for w in weights.T
        ]
        np.testing.assert_allclose(r2(errors, truth, counted)(Weights.of(weights)), expected, atol=1e-9)
    rows = [np.repeat(np.flatnonzero(counted), w[counted]) for w in counts.T]
    twice = [r2_score(truth[i], guess[i], multioutput="variance_weighted") for i in rows]
    np.testing.assert_allclose(r2(errors, truth, counted)(Weights.of(counts)), twice, atol=1e-9)


def test_what_the_data_do_not_define_is_nan() -> None:
    counted, nothing = np.ones(3, bool), np.zeros(3, bool)
    none = Weights.of(np.array([[0, 1], [0, 0], [0, 0]], np.uint16))
    ranks, truth = np.array([1.0, 2.0, 3.0]), np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(mean_over_queries(ranks, counted)(none), [np.nan, 1])
    np.testing.assert_array_equal(median_rank(ranks, counted)(none), [np.nan, 1])
    assert np.isnan(r2(ranks, truth, counted)(none)).all()  # one answer does not vary
    for prepared in (mean_over_queries(ranks, nothing), median_rank(ranks, nothing), r2(ranks, truth, nothing)):
        assert np.isnan(prepared(none)).all()


def test_a_measure_reads_its_columns_and_is_absent_without_them() -> None:
    rng, ranks, counted = queries()
    truth, guess = rng.normal(size=(2, 40, 3))
    rows = pd.DataFrame(
        {
            "target:a": np.where(counted, 2.0, 0.0), "rank:a": np.where(counted, ranks, np.nan),
            "value:recall@5:a": np.where(counted, ranks <= 5, np.nan), "target:b": np.where(counted, 1.0, np.nan),
            "squared_error:b": ((truth - guess) ** 2).sum(1),
            "truth:b": [t if c else None for t, c in zip(truth, counted, strict=True)],
        }
    )  # fmt: skip
    found = {name: {k: p(ONE)[0] for k, p in m.prepare(rows, ["a", "b"]).items()} for name, m in MEASURES.items()}
    assert {name for name, values in found.items() if values} == {"recall@5", "median_rank", "r2"}
    assert found["median_rank"] == {"a": np.median(ranks[counted])}
    assert np.isclose(found["recall@5"]["a"], (ranks[counted] <= 5).mean())
    expected = r2_score(truth[counted], guess[counted], multioutput="variance_weighted")
    assert np.isclose(found["r2"]["b"], expected, atol=1e-12)


def test_every_name_is_known_and_only_the_rank_is_better_low() -> None:
    assert [n for n, m in KINDS["retrieval"].measures.items() if not m.higher_is_better] == ["median_rank"]
