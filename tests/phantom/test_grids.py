"""Functions on grids, against SciPy's, bit for bit: every pixel of the phantom depends on them."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from cxrbench.phantom.grids import ARGUMENTS, BINS, HIGH, LOW, curve, smoothed


@pytest.mark.parametrize(("sigma", "truncate"), [(2.5, 4), (0.7, 3), (0.6, 2.5)])
def test_smoothed_is_scipys_gaussian_filter(sigma: float, truncate: float) -> None:
    image = np.random.default_rng(0).standard_normal((40, 33), dtype=np.float32)
    assert np.array_equal(smoothed(image, sigma, truncate), gaussian_filter(image, sigma, truncate=truncate))


@pytest.mark.parametrize("knots", [[(-0.86, -0.1), (0.0, 0.6), (0.8, 0.3)], [(-3.0, 0.2), (1.9, 0.7), (2.5, 0.1)]])
def test_a_curve_is_scipys_filter_of_numpys_interpolation(knots: list[tuple[float, float]]) -> None:
    arguments, values = zip(*knots, strict=True)
    table = np.interp(ARGUMENTS, arguments, values)
    wanted = gaussian_filter1d(table, 0.02 * BINS / (HIGH - LOW), mode="nearest").astype(np.float32)
    assert np.array_equal(curve(knots), wanted)
