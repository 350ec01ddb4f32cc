"""Kinds of predictions: how each is scored against the truth, and which metrics it has."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from cxrbench.data.manifest import QUANTITY, Manifest
from cxrbench.metrics import detection as metrics_detection
from cxrbench.metrics import segmentation as metrics_segmentation
from cxrbench.metrics.classification import METRICS, Metric, Prepared, Weights, decide, ece_by_chance, never_defined
from cxrbench.metrics.measure import Measure
from cxrbench.metrics.ranking import OneLabel
from cxrbench.metrics.regression import MEASURES as REGRESSION
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


def with_numbers(predictions: Predictions, manifest: Manifest) -> Predictions:
    """Regression: the quantities of the manifest beside what was predicted of them."""
    known = manifest.images.set_index("image_id")
    truth = known.loc[predictions.rows["image_id"], [QUANTITY + name for name in predictions.labels]]
    names = [f"target:{name}" for name in predictions.labels]
    return replace(
        predictions, rows=predictions.rows.assign(**dict(zip(names, truth.to_numpy(np.float64).T, strict=True)))
    )


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


@dataclass(frozen=True)
class Scored:
    """Scores and decisions of a cell's labels beside the targets, and whether each label's model was ``trained``."""

    kind: Kind
    labels: tuple[str, ...]
    scores: tuple[OneLabel, ...]
    decisions: tuple[OneLabel, ...]
    trained: tuple[bool, ...]

    @staticmethod
    def of(rows: pd.DataFrame, labels: Sequence[str], kind: Kind) -> "Scored":
        """From the test rows of a cell."""
        scores, targets = (
            np.stack([rows[f"{what}:{label}"].to_numpy(np.float64) for label in labels]) for what in ("score", "target")
        )
        decisions = np.ascontiguousarray(decide(scores.T, kind).T)
        trained = (np.isfinite(scores) | np.isnan(targets)).all(1)
        of_scores, of_decisions = (tuple(map(OneLabel, values, targets)) for values in (scores, decisions))
        return Scored(kind, tuple(labels), of_scores, of_decisions, tuple(np.atleast_1d(trained).tolist()))

    def prepared(self, metric: Metric) -> dict[str, Prepared]:
        """A metric of each label; of exclusive classes also the accuracy of all."""
        columns = self.decisions if metric.on_decisions else self.scores
        prepared = {
            label: metric.of(column) if trained else never_defined
            for label, column, trained in zip(self.labels, columns, self.trained, strict=True)
        }
        if self.kind == "multiclass" and metric.name == "accuracy":
            decisions, targets = (
                np.array(of) for of in zip(*((c.scores, c.targets) for c in self.decisions), strict=True)
            )
            right = np.where(np.isnan(targets).any(0), np.nan, np.nansum(decisions * targets, 0))
            prepared["macro"] = metric.prepare(np.ones(len(right)), right) if all(self.trained) else never_defined
        return prepared


def _of_labels(metric: Metric, read: Callable[[pd.DataFrame, Sequence[str]], Scored]) -> Measure:
    """A metric of one label's scores and targets, for each label of a cell."""
    return Measure(
        metric.name, metric.title, lambda rows, labels: read(rows, labels).prepared(metric), metric.higher_is_better,
        ranks=metric.ranks, tested=metric.tested, by_chance=_ece_by_chance if metric.name == "ece" else None,
        read=read, of_read=lambda scored: scored.prepared(metric),
    )  # fmt: skip


def _of_kind(kind: Kind) -> dict[str, Measure]:
    """The metrics of classification; they read a cell once for all."""
    read = partial(Scored.of, kind=kind)
    return {name: _of_labels(metric, read) for name, metric in METRICS.items()}


def _ece_by_chance(rows: pd.DataFrame, labels: Sequence[str]) -> dict[str, float]:
    """By label; without those that have no scores."""
    columns = {label: (rows[f"score:{label}"], rows[f"target:{label}"]) for label in labels}
    arrays = {label: (s.to_numpy(np.float64), t.to_numpy(np.float64)) for label, (s, t) in columns.items()}
    return {label: ece_by_chance(s, t) for label, (s, t) in arrays.items() if np.isfinite(s[~np.isnan(t)]).all()}


KINDS: Mapping[Kind, KindOf] = {
    "multilabel": KindOf(_of_kind("multilabel"), with_targets),
    "multiclass": KindOf(_of_kind("multiclass"), with_targets),
    "detection": KindOf(metrics_detection.MEASURES, metrics_detection.score),
    "retrieval": KindOf(RETRIEVAL, complete),
    "segmentation": KindOf(metrics_segmentation.MEASURES, metrics_segmentation.score),
    "regression": KindOf(REGRESSION, with_numbers),
}
