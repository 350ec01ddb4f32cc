"""The ridge map against scikit-learn's."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from cxrbench.tasks.ridge import fit_ridge
from cxrbench.tasks.standardize import Standardizer


@pytest.mark.parametrize("rows", [200, 12])
def test_every_strength_is_scikit_learns(rows: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(rows, 30)) * np.geomspace(1, 100, 30) + 5, rng.normal(size=(rows, 4)) - 3
    x[:, 3] = x[:, 2]
    for strength, ours in zip((0.1, 10.0, 1e4), fit_ridge(x, y, (0.1, 10.0, 1e4)), strict=True):
        peer = Ridge(alpha=strength, solver="svd").fit(x, y)
        np.testing.assert_allclose(ours(x), peer.predict(x), atol=1e-8)


def test_standardized_as_scikit_learn_does_but_constants_stay_zero() -> None:
    x = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32) * 3 + 100
    np.testing.assert_allclose(Standardizer.of(x)(x), StandardScaler().fit_transform(x.astype(float)), atol=1e-9)
    x[:, 1] = 7
    assert (Standardizer.of(x)(x + 1)[:, 1] == 0).all()
