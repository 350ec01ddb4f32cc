"""Ridge regression with several outputs, for several strengths at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RidgeMap:
    """Predictions = (x - ``mean_x``) @ ``weights`` + ``mean_y``; weights [D, E]."""

    weights: Array
    mean_x: Array
    mean_y: Array

    def __call__(self, x: NDArray[np.floating]) -> Array:
        """Predictions [n, E] of rows [n, D]."""
        return (np.asarray(x, np.float64) - self.mean_x) @ self.weights + self.mean_y


def fit_ridge(x: Array, y: Array, strengths: Sequence[float]) -> list[RidgeMap]:
    """A map for each strength a: argmin_W |y - x W|² + a |W|², means taken off first (Hoerl and Kennard 1970).

    x: [n, D]; y: [n, E]; strengths > 0. The same objective as scikit-learn's ``Ridge(alpha=a)``; one eigendecomposition
    of the Gram matrix, of the smaller side, serves all strengths.
    """
    mean_x, mean_y = x.mean(0), y.mean(0)
    x, y = x - mean_x, y - mean_y
    if x.shape[0] >= x.shape[1]:
        values, vectors = np.linalg.eigh(x.T @ x)
        left, right = vectors, vectors.T @ (x.T @ y)
    else:  # W = xᵀ (x xᵀ + a)⁻¹ y, the same thing
        values, vectors = np.linalg.eigh(x @ x.T)
        left, right = x.T @ vectors, vectors.T @ y
    values = values.clip(min=0)
    return [RidgeMap((left / (values + a)) @ right, mean_x, mean_y) for a in strengths]
