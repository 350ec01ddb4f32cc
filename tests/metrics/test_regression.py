"""R² and mean absolute error: equal to scikit-learn's under every weighting, undefined where the data do not say."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_absolute_error, r2_score

from cxrbench.metrics.prepared import Weights
from cxrbench.metrics.regression import MEASURES, mae, r2
from cxrbench.metrics.together import Together

PEERS = {"r2": r2_score, "mae": mean_absolute_error}


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_values_are_scikit_learns_under_every_weighting(name: str, offset: float) -> None:
    rng = np.random.default_rng(0)
    truth = offset + rng.normal(60, 15, 80)
    predicted = truth + rng.normal(2, 8, 80)
    truth[::9] = np.nan
    weights = rng.poisson(1, (80, 40)).astype(np.uint16)
    rows = pd.DataFrame({"score:age": predicted, "target:age": truth})
    values = MEASURES[name].prepare(rows, ["age"])["age"](Weights.of(weights))
    known = ~np.isnan(truth)
    expected = [PEERS[name](truth[known], predicted[known], sample_weight=w[known]) for w in weights.T]
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    repeated = np.repeat(np.arange(80), weights[:, 0])
    once = MEASURES[name].prepare(rows.iloc[repeated], ["age"])["age"](
        Weights.of(np.ones((len(repeated), 1), np.uint16))
    )
    np.testing.assert_allclose(once, values[:1], rtol=1e-6)


def test_what_is_not_defined_is_nan() -> None:
    ones = Weights.of(np.array([[1, 0], [1, 1], [1, 0]], np.uint16))
    truth, predicted = np.array([1.0, 2.0, np.nan]), np.array([1.0, 1.0, 5.0])
    assert np.isnan(r2(predicted, truth)(ones)).tolist() == [False, True]
    assert mae(predicted, truth)(ones).tolist() == [0.5, 1.0]
    assert np.isnan(mae(predicted, truth)(Weights.of(np.array([[0], [0], [1]], np.uint16)))).all()
    rows = pd.DataFrame({"score:a": [np.nan, 1.0], "target:a": [1.0, 2.0]})
    for measure in MEASURES.values():
        assert np.isnan(measure.prepare(rows, ["a"])["a"](Weights.of(np.ones((2, 1), np.uint16)))).all()


def test_lower_is_better_for_mae_alone_and_both_are_summed_together() -> None:
    assert {name: measure.higher_is_better for name, measure in MEASURES.items()} == {"r2": True, "mae": False}
    rng = np.random.default_rng(1)
    truth, predicted = rng.normal(size=(2, 30))
    weights = Weights.of(rng.poisson(1, (30, 5)).astype(np.uint16))
    both = [r2(predicted, truth), mae(predicted, truth)]
    np.testing.assert_allclose(Together.of(both)(weights), [one(weights) for one in both])
