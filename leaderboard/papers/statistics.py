"""What papers print beside, or in place of, a value with its interval: a mean of folds, a median of resamples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cxrbench.leaderboard.board import NAN
from cxrbench.leaderboard.statistics.bootstrap import replicate
from cxrbench.leaderboard.statistics.in_folds import FOLD
from cxrbench.metrics.kinds import KINDS
from cxrbench.metrics.prepared import Array, Prepared, Weights
from cxrbench.predictions import Predictions

RESAMPLES = 500


@dataclass(frozen=True)
class PaperStatistic:
    """``centre`` with ``spread`` (SD), or with ``low`` and ``high`` (95%); NaN where undefined."""

    centre: float = NAN
    spread: float = NAN
    low: float = NAN
    high: float = NAN


def over_folds(cells: Sequence[Predictions], metric: str, label: str) -> PaperStatistic:
    """Mean and SD (K - 1) over the folds of a cross-validation, each fold by itself; of several seeds all folds.

    NaN where there are no folds, or where a fold has no value: a mean of the others would be of another test set.
    """
    values: list[float] = []
    for one in cells:
        rows = one.test_rows()
        if FOLD not in rows:
            return PaperStatistic()
        for fold in np.unique(rows[FOLD]):
            part = rows[rows[FOLD] == fold].reset_index(drop=True)
            once = Weights.of(np.ones((len(part), 1), np.uint16))
            values.append(float(_of_label(_prepared(one, part, metric), one, label, once)[0]))
    if len(values) < 2:
        return PaperStatistic()
    return PaperStatistic(float(np.mean(values)), float(np.std(values, ddof=1)))


def over_resamples(
    predictions: Predictions, metric: str, label: str, *, replicates: int = RESAMPLES, seed: int = 0
) -> PaperStatistic:
    """Median and 2.5% and 97.5% quantiles of resamples of the test set's patients (images, where none are known).

    Resamples in which a label is undefined are left out.
    """
    rows = predictions.test_rows()
    prepared = _prepared(predictions, rows, metric)
    labels = _labels(prepared, predictions, label)
    if not labels:
        return PaperStatistic()
    patients = rows["patient_id"].where(rows["patient_id"] != "", rows["image_id"]).to_numpy()
    key = str(predictions.cell["dataset"])
    drawn = replicate([prepared[name] for name in labels], patients, key, seed, replicates).mean(0)
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        return PaperStatistic()
    low, centre, high = (float(value) for value in np.quantile(known, [0.025, 0.5, 0.975]))
    return PaperStatistic(centre, low=low, high=high)


def _prepared(predictions: Predictions, rows: "object", metric: str) -> dict[str, Prepared]:
    measures = KINDS[predictions.kind].measures
    return dict(measures[metric].prepare(rows, predictions.labels)) if metric in measures else {}  # type: ignore[arg-type]


def _labels(prepared: dict[str, Prepared], predictions: Predictions, label: str) -> list[str]:
    """A label, or those that a group's mean is over; none where one of them is not there."""
    names = [label] if label in prepared else [*predictions.groups.get(label, ())]
    return names if all(name in prepared for name in names) else []


def _of_label(prepared: dict[str, Prepared], predictions: Predictions, label: str, weights: Weights) -> Array:
    names = _labels(prepared, predictions, label)
    return np.mean([prepared[name](weights) for name in names], axis=0) if names else np.full(1, np.nan)
