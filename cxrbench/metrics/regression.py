"""Regression: how far predicted numbers lie from the true ones, at many weightings at once."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrbench.metrics.classification import ratio
from cxrbench.metrics.measure import Measure
from cxrbench.metrics.prepared import Array, OfSums, Prepared, never_defined


def r2(predicted: Array, truth: Array) -> Prepared:
    """R² = 1 - sum w (y - f)² / sum w (y - mean)², mean the weighted one: scikit-learn's ``r2_score(sample_weight=w)``.

    predicted, truth: [n], NaN where unknown. Undefined where all numbers that have weight are the same. By Huygens'
    theorem the denominator is sum w y² - (sum w y)² / sum w, of numbers that are centred first so that nothing cancels.
    """
    known, error, centred = _known(predicted, truth)

    def of_sums(_counts: Array, total: Array, _bins: Array, sums: Array) -> Array:
        residual, squares, linear = sums
        spread = squares - ratio(linear**2, total[0])
        return 1 - residual / np.where(spread > 1e-12 * squares, spread, np.nan)

    return OfSums(of_sums, (known,), real=(error**2, centred**2, centred))


def mae(predicted: Array, truth: Array) -> Prepared:
    """Mean absolute error, sum w |y - f| / sum w: scikit-learn's ``mean_absolute_error(sample_weight=w)``."""
    known, error, _ = _known(predicted, truth)
    return OfSums(lambda _counts, total, _bins, sums: ratio(sums[0], total[0]), (known,), real=(np.abs(error),))


def _known(predicted: Array, truth: Array) -> tuple[NDArray[np.bool_], Array, Array]:
    """Which rows count, their errors, and their centred truth; 0 in the others."""
    known = ~np.isnan(truth)
    mean = truth[known].mean() if known.any() else 0.0
    return known, np.where(known, predicted - truth, 0.0), np.where(known, truth - mean, 0.0)


def _measure(
    name: str,
    title: str,
    prepare_one: Callable[[Array, Array], Prepared],
    *,
    higher_is_better: bool = True,
    in_units: bool = False,
) -> Measure:
    def prepare(rows: pd.DataFrame, labels: Sequence[str]) -> dict[str, Prepared]:
        pairs = {x: [rows[f"{of}:{x}"].to_numpy(np.float64) for of in ("score", "target")] for x in labels}
        return {
            label: prepare_one(scores, targets) if np.isfinite(scores[~np.isnan(targets)]).all() else never_defined
            for label, (scores, targets) in pairs.items()
        }

    return Measure(name, title, prepare, higher_is_better, share=False, in_units=in_units)


MEASURES: Mapping[str, Measure] = {
    measure.name: measure
    for measure in (
        _measure("r2", "R²", r2),
        _measure("mae", "MAE", mae, higher_is_better=False, in_units=True),
    )
}
