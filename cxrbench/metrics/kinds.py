"""Kinds of predictions: how each is scored against the truth, and which metrics it has."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from cxrbench.data.manifest import Manifest
from cxrbench.metrics import detection as metrics_detection
from cxrbench.metrics import segmentation as metrics_segmentation
from cxrbench.metrics.classification import METRICS, Metric, Prepared, Weights, decide, ece_by_chance, never_defined
from cxrbench.metrics.measure import Measure
from cxrbench.metrics.retrieval import MEASURES as RETRIEVAL
from cxrbench.predictions import Kind, Predictions


@dataclass(frozen=True)
class KindOf:
    """What is known of a kind of predictions.

    ``measures``: by name, the headline first. ``score``: puts the truth of the test rows, and whatever the metrics need
    of it, beside predictions that are final.
    """

    measures: Mapping[str, Measure]
    score: Callable[[Predictions, Manifest], Predictions]


def with_targets(predictions: Predictions, manifest: Manifest) -> Predictions:
    """Classification: the labels of the manifest beside the scores, of images or (``cell["unit"]``) of studies."""
    rows = predictions.rows.copy()
    names = list(predictions.labels)
    known = (
        manifest.study_targets() if predictions.cell.get("unit") == "study" else manifest.images.set_index("image_id")
    )
    truth = known.loc[rows["image_id"], names].to_numpy(np.float64)
    rows[[f"target:{label}" for label in names]] = truth
    return replace(predictions, rows=rows)


def complete(predictions: Predictions, manifest: Manifest) -> Predictions:
    """Retrieval: ranks and values are the truth already, for such a task sees it and trains on none of it."""
    del manifest
    return predictions


def headline(predictions: Predictions) -> tuple[str, float]:
    """Title and value of the first metric of its kind that a cell has, on its test rows: the mean over the labels.

    A glance, over the labels that have a value; NaN if none has. The leaderboard has intervals and says what is
    undefined.
    """
    rows = predictions.test_rows()
    once = Weights.of(np.ones((len(rows), 1), np.uint16))
    for measure in KINDS[predictions.kind].measures.values():
        prepared = measure.prepare(rows, predictions.labels)
        of = ["macro"] if "macro" in prepared else [x for x in predictions.groups["macro"] if x in prepared]
        if of:
            values = np.array([prepared[name](once)[0] for name in of])
            known = values[~np.isnan(values)]
            return measure.title, float(known.mean()) if len(known) else float("nan")
    return "no metric", float("nan")


def _of_labels(metric: Metric, kind: Kind) -> Measure:
    """A metric of one label's scores and targets, for each label of a cell."""

    def prepare(rows: pd.DataFrame, labels: Sequence[str]) -> dict[str, Prepared]:
        scores = rows[[f"score:{label}" for label in labels]].to_numpy(np.float64)
        targets = rows[[f"target:{label}" for label in labels]].to_numpy(np.float64)
        decisions = decide(scores, kind)
        trained = [bool(np.isfinite(s[~np.isnan(t)]).all()) for s, t in zip(scores.T, targets.T, strict=True)]
        columns = decisions if metric.on_decisions else scores
        prepared = {
            label: metric.prepare(columns[:, i], targets[:, i]) if trained[i] else never_defined
            for i, label in enumerate(labels)
        }
        if kind == "multiclass" and metric.name == "accuracy":
            right = np.where(np.isnan(targets).any(1), np.nan, np.nansum(decisions * targets, 1))
            prepared["macro"] = metric.prepare(np.ones(len(right)), right) if all(trained) else never_defined
        return prepared

    return Measure(
        metric.name, metric.title, prepare, metric.higher_is_better, ranks=metric.ranks, tested=metric.tested,
        by_chance=_ece_by_chance if metric.name == "ece" else None,
    )  # fmt: skip


def _ece_by_chance(rows: pd.DataFrame, labels: Sequence[str]) -> dict[str, float]:
    """By label; without those that have no scores."""
    columns = {label: (rows[f"score:{label}"], rows[f"target:{label}"]) for label in labels}
    arrays = {label: (s.to_numpy(np.float64), t.to_numpy(np.float64)) for label, (s, t) in columns.items()}
    return {label: ece_by_chance(s, t) for label, (s, t) in arrays.items() if np.isfinite(s[~np.isnan(t)]).all()}


KINDS: Mapping[Kind, KindOf] = {
    "multilabel": KindOf({name: _of_labels(metric, "multilabel") for name, metric in METRICS.items()}, with_targets),
    "multiclass": KindOf({name: _of_labels(metric, "multiclass") for name, metric in METRICS.items()}, with_targets),
    "detection": KindOf(metrics_detection.MEASURES, metrics_detection.score),
    "retrieval": KindOf(RETRIEVAL, complete),
    "segmentation": KindOf(metrics_segmentation.MEASURES, metrics_segmentation.score),
}
