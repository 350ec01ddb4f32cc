"""From aligned predictions to estimates: every metric of every label and group, with its bootstrap replicates."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrbench.leaderboard.alignment import TestSet
from cxrbench.leaderboard.board import HEADLINE
from cxrbench.leaderboard.bootstrap import replicate, resample_seeds
from cxrbench.metrics.classification import Weights, macro, never_defined
from cxrbench.metrics.measure import Measure

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
    """One metric of all encoders on one test set.

    ``estimates``: by encoder, then by group name or label; none if the metric does not belong to this task.
    ``undefined``: the labels that are left out of every mean.
    """

    estimates: dict[str, dict[str, Estimate]]
    undefined: tuple[str, ...]


def evaluate(tests: TestSet, measure: Measure, replicates: int, seed: int) -> Evaluation:
    """Estimate a metric for each encoder, label and group on resamples that they all share.

    A group's value is the mean over its labels; a label that the test set leaves undefined, or that some encoder could
    not be trained on, is left out of the mean of *every* encoder. A measure that gives a ``macro`` of its own (for
    exclusive classes: the share of images whose class is right) overrides the mean.
    """
    cells = [(encoder, rows) for encoder, seeds in tests.rows.items() for rows in seeds]
    by_cell = [measure.prepare(rows, tests.labels) for _, rows in cells]
    labels = [label for label in tests.labels if any(label in one for one in by_cell)]
    overall = any(HEADLINE in one for one in by_cell) and HEADLINE not in labels
    if not labels and not overall:
        return Evaluation({}, ())
    wanted = [*labels, HEADLINE] if overall else labels
    prepared = [one.get(name, never_defined) for one in by_cell for name in wanted]
    ones = Weights.of(np.ones((len(tests.patients), 1), dtype=np.uint16))
    values = np.array([p(ones) for p in prepared]).reshape(len(cells), len(wanted), 1)
    draws = replicate(prepared, tests.patients, tests.key, seed, replicates)
    draws = draws.reshape(len(cells), len(wanted), replicates)
    defined = np.asarray(np.isfinite(values[:, : len(labels), 0]).all(axis=0))
    members = {name: [labels.index(x) for x in group if x in labels] for name, group in tests.groups.items()}

    def with_groups(one: Array) -> dict[str, Array]:
        """Rows by name, groups first: the mean over the group's defined labels."""
        means = {name: macro(one[at], defined[at]) for name, at in members.items() if at or name == HEADLINE}
        if overall:
            means[HEADLINE] = one[len(labels)]
        return means | {label: one[i] for i, label in enumerate(labels) if label not in means}

    estimates: dict[str, dict[str, Estimate]] = {}
    for encoder in tests.rows:
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
