"""Weighted metrics of retrieval: means over queries, the median rank, and R² of predicted embeddings.

A query whose target (its number of relevant items) is 0 or NaN counts for nothing. Ranks and per-query values are
those of the full gallery: a resample draws queries again, never another gallery, as resampling images draws no other
training set.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrbench.metrics.classification import Array, Prepared, Weights, never_defined, ratio, weighted_sums
from cxrbench.metrics.measure import Measure
from cxrbench.metrics.prepared import running


def mean_over_queries(values: Array, counted: NDArray[np.bool_]) -> Prepared:
    """Weighted mean of per-query values [n]; NaN where no counted query has weight."""
    sums = weighted_sums((np.where(counted, values, 0.0), counted))
    return lambda weights: ratio(*sums(weights))


def median_rank(ranks: Array, counted: NDArray[np.bool_]) -> Prepared:
    """Weighted median of the ranks [n]: what ``numpy.median`` gives with each rank repeated ``weight`` times.

    The median is the mean of the lowest rank at which the cumulative weight reaches half of the total, and of the
    lowest at which it exceeds it; they differ only where half of the weight lies exactly below a gap. Ranks are sorted
    once.
    """
    rows = np.flatnonzero(counted)
    if np.isnan(ranks[rows]).any():
        return never_defined
    rows = rows[np.argsort(ranks[rows], kind="stable")]
    in_order = np.append(ranks[rows], np.nan)  # past the end: no weight at all

    def of_weights(weights: Weights) -> Array:
        doubled = 2 * running(weights.sums[rows])  # counts up to 2^24, so twice them is exact in float32, too
        if not len(rows):
            return np.full(weights.sums.shape[1], np.nan)
        total = doubled[-1] / 2
        reached, exceeded = (doubled < total).sum(0), (doubled <= total).sum(0)
        return (in_order[reached] + in_order[exceeded]) / 2

    return of_weights


def r2(squared_errors: Array, truth: Array, counted: NDArray[np.bool_]) -> Prepared:
    """R² of predicted embeddings: 1 - sum_i w_i |y_i - f_i|² / sum_i w_i |y_i - mean|², mean the weighted one.

    squared_errors: [n], |y_i - f_i|²; truth: [n, D], y_i. It is scikit-learn's ``r2_score(sample_weight=w,
    multioutput="variance_weighted")``. Not ``uniform_average``, which a dimension that hardly varies in a resample (a
    laboratory value that nobody lacks) would decide alone. By Huygens' theorem the denominator is sum w |y|² -
    |sum w y|² / sum w, a matrix product for all resamples; the data are centred first so that nothing cancels.
    """
    errors = np.where(counted, squared_errors, 0.0)
    centred = np.where(counted[:, None], truth, 0.0)
    centred -= np.where(counted[:, None], centred.sum(0) / max(int(counted.sum()), 1), 0.0)
    sums, columns = weighted_sums((errors, (centred**2).sum(1), counted)), np.ascontiguousarray(centred.T)

    def of_weights(weights: Weights) -> Array:
        residual, squares, count = sums(weights)
        spread = squares - ratio(np.square(columns @ weights.double).sum(0), count)
        defined = spread > 1e-12 * squares  # one query, or one answer: nothing varies
        return 1 - ratio(residual, np.where(defined, spread, 0.0))

    return of_weights


Preparation = Callable[[pd.DataFrame, str, NDArray[np.bool_]], Prepared]


def _measure(
    name: str,
    title: str,
    columns: Sequence[str],
    prepare_label: Preparation,
    higher_is_better: bool = True,
    share: bool = True,
) -> Measure:
    """A measure of the labels that have all of ``columns`` (``COLUMN:LABEL``); of no label if none has."""

    def prepare(rows: pd.DataFrame, labels: Sequence[str]) -> dict[str, Prepared]:
        return {
            label: prepare_label(rows, label, rows[f"target:{label}"].to_numpy(np.float64) > 0)
            for label in labels
            if all(f"{column}:{label}" in rows for column in columns)
        }

    return Measure(name, title, prepare, higher_is_better, share)


def _mean(name: str, title: str, share: bool = True) -> Measure:
    column = f"value:{name}"
    return _measure(
        name, title, [column], lambda rows, label, counted: mean_over_queries(_numbers(rows, column, label), counted),
        share=share,
    )  # fmt: skip


def _numbers(rows: pd.DataFrame, column: str, label: str) -> Array:
    return rows[f"{column}:{label}"].to_numpy(np.float64)


def _r2_of(rows: pd.DataFrame, label: str, counted: NDArray[np.bool_]) -> Prepared:
    lists = rows[f"truth:{label}"].to_numpy()
    width = next((len(lists[i]) for i in np.flatnonzero(counted)), 0)
    truth = np.stack([lists[i] if known else np.zeros(width) for i, known in enumerate(counted)] or [np.zeros(0)])
    return r2(_numbers(rows, "squared_error", label), truth.astype(np.float64), counted)


MEASURES: Mapping[str, Measure] = {
    measure.name: measure
    for measure in (
        _mean("map@r", "mAP@R"),
        _mean("p@1", "P@1"),
        _mean("p@5", "P@5"),
        _mean("p@10", "P@10"),
        _mean("cosine", "Cosine", share=False),
        _measure("r2", "R²", ["squared_error", "truth"], _r2_of, share=False),
        _mean("recall@1", "Recall@1"),
        _mean("recall@5", "Recall@5"),
        _mean("recall@10", "Recall@10"),
        _measure(
            "median_rank",
            "Median rank",
            ["rank"],
            lambda rows, label, counted: median_rank(_numbers(rows, "rank", label), counted),
            higher_is_better=False,
            share=False,
        ),
    )
}
