"""Features at zero mean and unit variance."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Standardizer:
    """Mean and standard deviation [D] of training rows; what is constant there becomes 0."""

    mean: Array
    scale: Array

    @staticmethod
    def of(train: NDArray[np.floating]) -> "Standardizer":
        """From rows [n, D]. The standard deviation divides by n, as scikit-learn's StandardScaler."""
        mean, std = train.mean(0, dtype=np.float64), train.std(0, dtype=np.float64)
        std[std < 1e-6 * max(float(std.max(initial=0)), 1e-30)] = np.inf
        return Standardizer(mean, std)

    def __call__(self, rows: NDArray[np.floating]) -> Array:
        """Rows [n, D], standardized."""
        return (np.asarray(rows, np.float64) - self.mean) / self.scale
