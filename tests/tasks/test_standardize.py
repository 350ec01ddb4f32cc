"""Standardized features, against scikit-learn."""

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from cxrbench.tasks.standardize import Standardizer


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_are_scaled_as_scikit_learn_does_by_the_training_rows_alone(dtype: type) -> None:
    rng = np.random.default_rng(0)
    train, other = (rng.normal(3, [1e-3, 1, 50], (n, 3)).astype(dtype) for n in (40, 7))
    scaler = StandardScaler().fit(train.astype(np.float64))
    expected = np.asarray(scaler.transform(other.astype(np.float64)))
    np.testing.assert_allclose(Standardizer.of(train)(other), expected, rtol=1e-6)


def test_what_is_constant_in_training_becomes_0() -> None:
    train = np.tile([0.1, 7.0], (5, 1)).astype(np.float32)
    train[:, 1] += np.arange(5)
    found = Standardizer.of(train)(train + 1)
    assert (found[:, 0] == 0).all()
    assert (found[:, 1] != 0).any()
    assert (Standardizer.of(train[:, :1])(train[:, :1] + 1) == 0).all()  # nothing but constants
