"""The batched solver against scikit-learn's, to the optimum."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from cxrbench.tasks.classification.logistic import fit_sigmoid, fit_softmax

STRENGTHS = torch.tensor([1e-4, 1e-2, 1.0])


def problem(rows: int, width: int, labels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features with a decaying spectrum, and correlated labels from 5 to 50 percent."""
    rng = np.random.default_rng(seed)
    x = (
        rng.normal(size=(rows, width))
        * (1 + np.arange(width)) ** -1.0
        @ np.linalg.qr(rng.normal(size=(width, width)))[0]
    )
    x = (x - x.mean(0)) / x.std(0)
    margins = x @ rng.normal(size=(width, labels)) / np.sqrt(width) + np.linspace(-3, 0, labels)
    return x, (rng.random(margins.shape) < 1 / (1 + np.exp(-margins))).astype(float)


@pytest.mark.parametrize(("rows", "width"), [(400, 60), (40, 60)])  # more rows than features, and fewer
def test_sigmoid_equals_scikit_learn(rows: int, width: int) -> None:
    x, y = problem(rows, width, 3)
    y[0] = 1
    model = fit_sigmoid(torch.tensor(x), torch.tensor(y), STRENGTHS)
    assert model.converged.all()
    for s, strength in enumerate(STRENGTHS.tolist()):
        for label in range(3):
            peer = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-10, max_iter=1000).fit(
                x, y[:, label]
            )
            np.testing.assert_allclose(model.weights[s * 3 + label, 0], peer.coef_[0], atol=2e-3, rtol=2e-3)
            np.testing.assert_allclose(
                model.margins(torch.tensor(x))[:, s * 3 + label, 0], peer.decision_function(x), atol=5e-3
            )


def test_softmax_equals_scikit_learn() -> None:
    x, _ = problem(300, 40, 1)
    classes = np.digitize(x @ np.random.default_rng(1).normal(size=40), [-4, 4])
    model = fit_softmax(torch.tensor(x), torch.eye(3, dtype=torch.float64)[classes], STRENGTHS)
    for s, strength in enumerate(STRENGTHS.tolist()):
        peer = LogisticRegression(C=strength, tol=1e-10, max_iter=5000).fit(x, classes)
        np.testing.assert_allclose(model.margins(torch.tensor(x))[:, s].softmax(1), peer.predict_proba(x), atol=2e-3)


def test_missing_labels_are_left_out() -> None:
    x, y = problem(300, 30, 2)
    holes = y.copy()
    holes[:100, 0] = np.nan
    model = fit_sigmoid(torch.tensor(x), torch.tensor(holes), STRENGTHS[1:2])
    peer = LogisticRegression(C=1e-2, tol=1e-10, solver="newton-cholesky").fit(x[100:], y[100:, 0])
    np.testing.assert_allclose(model.weights[0, 0], peer.coef_[0], atol=2e-3)


def test_float32_finds_the_same_optimum_as_float64() -> None:
    x, y = problem(300, 50, 4)
    single = fit_sigmoid(torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32), STRENGTHS)
    double = fit_sigmoid(torch.tensor(x), torch.tensor(y), STRENGTHS)
    assert single.converged.all()
    np.testing.assert_allclose(single.margins(torch.tensor(x)), double.margins(torch.tensor(x)), atol=5e-3)


def test_a_problem_does_not_depend_on_the_others_in_the_batch() -> None:
    x, y = problem(200, 30, 5)
    together = fit_sigmoid(torch.tensor(x), torch.tensor(y), STRENGTHS)
    alone = fit_sigmoid(torch.tensor(x), torch.tensor(y[:, 2:3]), STRENGTHS)
    np.testing.assert_allclose(together.weights[2::5], alone.weights, atol=2e-3)
