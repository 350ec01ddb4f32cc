"""From aligned predictions to estimates: every metric of every label and group, with its bootstrap replicates."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrbench.leaderboard.alignment import TestSet
from cxrbench.leaderboard.bootstrap import replicate, resample_seeds
from cxrbench.metrics import Metric, Prepared, Weights, accuracy, decide, macro

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """One metric of one encoder on one label or group.

    ``value``: on the test set as it is, mean over training seeds. ``replicates`` [B]: patients and seeds resampled.
    ``patient_error``: standard error from the patients alone; ``seed_error``: from the seeds alone, NaN with one seed.
    """

    value: float
    replicates: Array
    patient_error: float
    seed_error: float


@dataclass(frozen=True)
class Evaluation:
    """One metric of all encoders on one test set. ``estimates``: by encoder, then by group name or label."""

    estimates: dict[str, dict[str, Estimate]]
    undefined: tuple[str, ...]


def evaluate(tests: TestSet, metric: Metric, replicates: int, seed: int) -> Evaluation:
    """Estimate a metric for each encoder, label and group on resamples that they all share.

    A group's value is the mean over its labels; a label that the test set leaves undefined, or that some encoder could
    not be trained on, is left out of the mean of *every* encoder. For exclusive classes the accuracy of ``macro`` is
    the share of images whose class is right.
    """
    cells = [(encoder, one) for encoder, seeds in tests.scores.items() for one in seeds]
    labels = list(tests.labels)
    overall = tests.kind == "multiclass" and metric.prepare is accuracy
    prepared = [p for _, scores in cells for p in _prepare(tests, scores, metric, overall)]
    rows = len(prepared) // len(cells)
    ones = Weights.of(np.ones((len(tests.patients), 1), dtype=np.uint16))
    values = np.array([p(ones) for p in prepared]).reshape(len(cells), rows, 1)
    draws = replicate(prepared, tests.patients, tests.key, seed, replicates).reshape(len(cells), rows, replicates)
    defined = np.asarray(np.isfinite(values[:, : len(labels), 0]).all(axis=0))
    members = {name: [labels.index(label) for label in group] for name, group in tests.groups.items()}

    def with_groups(one: Array) -> dict[str, Array]:
        """Rows by name, groups first: the mean over the group's defined labels."""
        means = {name: macro(one[rows], defined[rows]) for name, rows in members.items()}
        if overall:
            means["macro"] = one[len(labels)]
        return means | {label: one[i] for i, label in enumerate(labels) if label not in means}

    estimates: dict[str, dict[str, Estimate]] = {}
    for encoder in tests.scores:
        mine = [i for i, (name, _) in enumerate(cells) if name == encoder]
        points, drawn = [with_groups(values[i]) for i in mine], [with_groups(draws[i]) for i in mine]
        seed_weights = resample_seeds(len(mine), tests.key, seed, replicates)
        estimates[encoder] = {
            name: _estimate(np.array([p[name][0] for p in points]), np.stack([d[name] for d in drawn]), seed_weights)
            for name in points[0]
        }
    return Evaluation(estimates, tuple(label for label, known in zip(labels, defined, strict=True) if not known))


def _estimate(points: Array, draws: Array, seed_weights: Array) -> Estimate:
    """From values [seeds] and replicates [seeds, B] of the patients; seed_weights [seeds, B]."""
    seeds = len(points)
    patient_error = float(np.nanstd(draws.mean(0), ddof=1)) if (~np.isnan(draws)).all(0).sum() > 1 else np.nan
    seed_error = float(points.std(ddof=1) / np.sqrt(seeds)) if seeds > 1 else np.nan
    return Estimate(float(points.mean()), (draws * seed_weights).sum(0), patient_error, seed_error)


def _prepare(tests: TestSet, scores: Array, metric: Metric, overall: bool) -> list[Prepared]:
    """The metric of each label of one cell's scores [n, labels], and of the choice among classes if ``overall``."""
    decisions = decide(scores, tests.kind)
    columns = decisions if metric.on_decisions else scores
    trained = [bool(np.isfinite(s[~np.isnan(t)]).all()) for s, t in zip(scores.T, tests.targets.T, strict=True)]
    prepared = [
        metric.prepare(column, targets) if usable else _never_defined
        for column, targets, usable in zip(columns.T, tests.targets.T, trained, strict=True)
    ]
    if overall:
        right = np.where(np.isnan(tests.targets).any(1), np.nan, (decisions * tests.targets).sum(1))
        prepared.append(metric.prepare(np.ones(len(right)), right) if all(trained) else _never_defined)
    return prepared


def _never_defined(weights: Weights) -> Array:
    """The metric of a label that could not be trained."""
    return np.full(weights.sums.shape[1], np.nan)
