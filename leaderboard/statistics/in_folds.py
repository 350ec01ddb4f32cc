"""Metrics that rank rows, where cross-validation had several models score them: within each fold, then the mean.

Scores of two models are on two scales. Ranked together they can turn an order round: what one model gives to all of its
images, sick or not, stands above or below the other's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrbench.metrics.classification import Prepared, Weights
from cxrbench.metrics.measure import Measure, prepare_all

Array = NDArray[np.float64]
FOLD = "fold"  # the column that says whose model made a row


@dataclass(frozen=True)
class InFolds:
    """A prepared metric of each fold, and their mean, weighted by the folds' patients (``shares`` [K], sum 1).

    ``rows``: the test rows of each fold. Called with weights of all test rows, as any prepared metric is. A fold in
    which the metric is undefined (no positive image) has no share.
    """

    parts: tuple[Prepared, ...]
    rows: tuple[NDArray[np.int64], ...]
    shares: Array

    def __call__(self, weights: Weights) -> Array:
        """The mean [B] under weights [n, B]; NaN where a fold that has a share has no value."""
        counted = np.flatnonzero(self.shares).tolist()
        return self.shares[counted] @ np.stack([self._fold(k, weights) for k in counted])

    def values(self) -> Array:
        """Of each fold [K], on its test rows as they are; NaN where undefined."""
        ones = Weights.of(np.ones((sum(map(len, self.rows)), 1), np.uint16))
        return np.array([self._fold(k, ones)[0] for k in range(len(self.parts))])

    def _fold(self, k: int, weights: Weights) -> Array:
        return self.parts[k](Weights(weights.sums[self.rows[k]]))


def prepared(
    rows: pd.DataFrame, measures: Sequence[Measure], labels: Sequence[str], patients: NDArray[np.str_]
) -> list[Mapping[str, Prepared]]:
    """Each measure of each label (and ``macro``, where it has one) of test rows [n] of ``patients`` [n]."""
    folds = np.unique(rows[FOLD]) if FOLD in rows else []
    if len(folds) < 2:
        return prepare_all(measures, rows, labels)
    at = [np.flatnonzero(rows[FOLD].to_numpy() == fold) for fold in folds]
    parts = [rows.iloc[where].reset_index(drop=True) for where in at]
    return [
        _by_fold([one.prepare(part, labels) for part in parts], tuple(at), patients)
        if one.ranks
        else one.prepare(rows, labels)
        for one in measures
    ]


def _by_fold(
    by_fold: Sequence[Mapping[str, Prepared]], rows: tuple[NDArray[np.int64], ...], patients: NDArray[np.str_]
) -> Mapping[str, Prepared]:
    return {name: _mean([one[name] for one in by_fold], rows, patients) for name in by_fold[0]}


def _mean(parts: Sequence[Prepared], rows: tuple[NDArray[np.int64], ...], patients: NDArray[np.str_]) -> InFolds:
    """By the folds' patients; where the metric is defined in no fold all have a share, and it is undefined."""
    counts = np.array([len(np.unique(patients[at])) for at in rows], dtype=np.float64)
    known = np.isfinite(InFolds(tuple(parts), rows, counts).values())
    shares = counts * known if known.any() else counts
    return InFolds(tuple(parts), rows, shares / shares.sum())
