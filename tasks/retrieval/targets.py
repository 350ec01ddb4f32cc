"""What a ridge map is to predict of a study: embeddings of its ECG and of its laboratory values."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrbench.tasks.standardize import Standardizer

Array = NDArray[np.float64]


class StudyTargets(NamedTuple):
    """What is predicted of training and of test studies, [n, D] each.

    ``measured``: of test studies what it was made from [n, K]; equal rows are one answer. ``centre``: [D], about which
    cosines are taken, 0 where the targets are about their mean already.
    """

    train: Array
    test: Array
    measured: NDArray[np.floating]
    centre: Array


def by_hand(train: Array, test: Array, measured: NDArray[np.floating]) -> StudyTargets:
    """Standardized embeddings, which are about the mean of the training studies already."""
    return StudyTargets(train, test, measured, np.zeros(train.shape[1]))


def taught_targets(
    train: NDArray[np.floating], test: NDArray[np.floating], measured: NDArray[np.floating]
) -> StudyTargets:
    """A network's embeddings [n, E] as they are, cosines about the mean of the training studies."""
    train, test = train.astype(np.float64), test.astype(np.float64)
    return StudyTargets(train, test, measured, train.mean(0))


def labs_targets(train: Array, test: Array) -> StudyTargets:
    """Target embeddings [n, 2 K] from percentiles [n, K], NaN where a test was not made: filled values, then "made"."""
    means = _column_means(train)
    filled = [np.concatenate([np.where(np.isnan(p), means, p), np.isfinite(p)], axis=1) for p in (train, test)]
    standardize = Standardizer.of(filled[0])
    return by_hand(standardize(filled[0]), standardize(filled[1]), test)


def ecg_targets(train: NDArray[np.floating], test: NDArray[np.floating], components: int) -> StudyTargets:
    """Target embeddings [n, components or fewer] from ECG embeddings [n, D], NaN where a feature cannot be measured."""
    means = _column_means(train)
    filled = [np.where(np.isnan(e), means, e) for e in (train, test)]
    standardize = Standardizer.of(filled[0])
    from sklearn.decomposition import PCA

    pca = PCA(min(components, len(train), train.shape[1]), svd_solver="full").fit(standardize(filled[0]))
    return by_hand(pca.transform(standardize(filled[0])), pca.transform(standardize(filled[1])), test)


def _column_means(rows: NDArray[np.floating]) -> Array:
    """Means of the known values; 0.5 in a column without any, which standardizing turns into a constant 0."""
    known = np.isfinite(rows)
    return np.where(known.any(0), np.where(known, rows, 0).sum(0) / np.maximum(known.sum(0), 1), 0.5)
