"""AUROC of several encoders on several splits of the same patients, and one paired test for all splits together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrbench.leaderboard.statistics.bootstrap import REPLICATES, replicate
from cxrbench.leaderboard.statistics.inference import Uncertain, components, moderated
from cxrbench.metrics.classification import Weights, auroc
from cxrbench.predictions import Predictions

Array = NDArray[np.float64]
FEWEST = 10
"""Positives, and negatives, that a label needs among the test images of every split to be scored."""


def scored_labels(of_splits: Sequence[Predictions], fewest: int = FEWEST) -> tuple[str, ...]:
    """The labels that the test images of every split have enough positives and negatives of."""
    enough = [
        [min((column == 1).sum(), (column == 0).sum()) >= fewest for column in one.targets(one.test_rows()).T]
        for one in of_splits
    ]
    return tuple(label for label, fit in zip(of_splits[0].labels, np.all(enough, axis=0), strict=True) if fit)


@dataclass(frozen=True)
class OverSplits:
    """``values``: AUROC, mean over labels, by split [S]. ``replicates`` [B]: of their mean, ``patients`` resampled."""

    values: Array
    replicates: Array
    patients: int


def over_splits(of_splits: Sequence[Predictions], labels: Sequence[str], replicates: int = REPLICATES) -> OverSplits:
    """An encoder's AUROC on every split, and the bootstrap of the mean over the splits.

    A patient who is drawn twice counts twice in every split that tests on him: the test sets overlap, and so do their
    errors. Who the patients are, and nothing of the encoder, decides the draws: of two encoders on the same splits the
    replicates are paired.
    """
    frames = [one.test_rows() for one in of_splits]
    prepared, patients = [], np.unique(np.concatenate([frame["patient_id"].to_numpy(str) for frame in frames]))
    values = np.empty((len(frames), len(labels)))
    for split, (one, frame) in enumerate(zip(of_splits, frames, strict=True)):
        row_of = np.searchsorted(patients, frame["patient_id"].to_numpy(str))
        for column, label in enumerate(labels):
            at = one.labels.index(label)
            metric = auroc(one.scores(frame)[:, at], one.targets(frame)[:, at])
            values[split, column] = metric(Weights.of(np.ones((len(frame), 1), np.uint16)))[0]
            prepared.append(lambda weights, metric=metric, row_of=row_of: metric(_rows(weights, row_of)))
    drawn = replicate(prepared, patients, "|".join(patients), 0, replicates)
    return OverSplits(values.mean(1), drawn.mean(0), len(patients))


def _rows(weights: Weights, row_of: NDArray[np.int64]) -> Weights:
    """Weights of patients [P, B] as those of their images [n, B]."""
    return Weights(weights.sums[row_of])


def difference(one: OverSplits, other: OverSplits) -> Uncertain:
    """``one`` minus ``other``, of the mean over the splits."""
    value = np.array([one.values.mean() - other.values.mean()])
    return moderated([components(value, (one.replicates - other.replicates)[None], one.patients - 1.0)])[0]
