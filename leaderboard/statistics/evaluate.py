"""From aligned predictions to estimates: every metric of every label and group, with its bootstrap replicates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrbench.leaderboard.board import HEADLINE
from cxrbench.leaderboard.statistics.alignment import TestSet
from cxrbench.leaderboard.statistics.bootstrap import replicate
from cxrbench.leaderboard.statistics.counting import FEWEST_TESTED, rarer_patients
from cxrbench.leaderboard.statistics.in_folds import InFolds, prepared
from cxrbench.leaderboard.statistics.inference import Components, components
from cxrbench.metrics.classification import Prepared, Weights, macro, never_defined
from cxrbench.metrics.measure import Measure

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """One metric of one encoder on one label or group.

    ``points`` [S]: on the test set as it is, by training seed (``seeds``); ``replicates`` [S, B]: patients resampled,
    alike for every encoder and seed. ``patients_df``: degrees of freedom of the patients' variance. ``folds`` [K]: of
    a cross-validation whose folds are ranked each by itself, mean over seeds, NaN where undefined; else empty.
    """

    points: Array
    replicates: Array
    seeds: tuple[int, ...]
    patients_df: float
    folds: Array

    @property
    def value(self) -> float:
        """Mean over training seeds."""
        return float(self.points.mean())

    def components(self) -> Components:
        """The value with its variances from patients and seeds."""
        return components(self.points, self.replicates, self.patients_df)


@dataclass(frozen=True)
class Evaluation:
    """One metric of all encoders on one test set.

    ``estimates``: by encoder, then by group name or label; none if the metric does not belong to this task.
    ``undefined``: labels without a value for some encoder; ``rare``: those of too few patients to be tested. Both are
    left out of every mean, the rare ones unless a group has no others: ``counted`` are the labels of the headline.
    ``tested``: groups and labels that are tested.
    """

    estimates: dict[str, dict[str, Estimate]]
    undefined: tuple[str, ...] = ()
    rare: tuple[str, ...] = ()
    counted: tuple[str, ...] = ()
    tested: frozenset[str] = frozenset()


def evaluate(tests: TestSet, measure: Measure, replicates: int, seed: int) -> Evaluation:
    """Estimate a metric for each encoder, label and group on resamples that they all share.

    A group's value is the mean over its labels; a label that the test set leaves undefined, that some encoder could not
    be trained on, or that fewer than ``FEWEST_TESTED`` patients have (or lack), is left out of the mean of *every*
    encoder. A measure that gives a ``macro`` of its own (for exclusive classes: the share of images whose class is
    right) overrides the mean.
    """
    cells = [(encoder, rows) for encoder, seeds in tests.rows.items() for rows in seeds]
    by_cell = [prepared(rows, measure, tests.labels, tests.patients) for _, rows in cells]
    labels = [label for label in tests.labels if any(label in one for one in by_cell)]
    overall = any(HEADLINE in one for one in by_cell) and HEADLINE not in labels
    if not labels and not overall:
        return Evaluation({})
    wanted = [*labels, HEADLINE] if overall else labels
    functions = [one.get(name, never_defined) for one in by_cell for name in wanted]
    ones = Weights.of(np.ones((len(tests.patients), 1), dtype=np.uint16))
    values = np.array([p(ones) for p in functions]).reshape(len(cells), len(wanted), 1)
    draws = replicate(functions, tests.patients, tests.key, seed, replicates)
    draws = draws.reshape(len(cells), len(wanted), replicates)
    defined = np.asarray(np.isfinite(values[:, : len(labels), 0]).all(axis=0))
    patients = np.array([rarer_patients(tests, label) for label in labels], dtype=np.float64)
    everybody = tests.patients_of(np.ones(len(tests.patients), dtype=bool))
    of_group = members(tests, labels, defined, patients >= FEWEST_TESTED)

    def with_groups(one: Array) -> dict[str, Array]:
        """Rows by name, groups first: the mean over the group's labels that count."""
        means = {name: macro(one[: len(labels)], at) for name, at in of_group.items()}
        if overall:
            means[HEADLINE] = one[len(labels)]
        return means | {label: one[i] for i, label in enumerate(labels) if label not in means}

    estimates: dict[str, dict[str, Estimate]] = {}
    for encoder in tests.rows:
        mine = [i for i, (name, _) in enumerate(cells) if name == encoder]
        points, drawn = [with_groups(values[i]) for i in mine], [with_groups(draws[i]) for i in mine]
        df = _degrees(draws[mine].var(axis=2).mean(0)[: len(labels)], patients - 1, of_group, labels)
        folds = with_groups(_by_fold([functions[i * len(wanted) : (i + 1) * len(wanted)] for i in mine]))
        estimates[encoder] = {
            name: Estimate(
                points=np.array([p[name][0] for p in points]), replicates=np.stack([d[name] for d in drawn]),
                seeds=tests.seeds[encoder], patients_df=df.get(name, everybody - 1.0),
                folds=folds[name],
            )
            for name in points[0]
        }  # fmt: skip
    few = patients < FEWEST_TESTED
    headline = of_group.get(HEADLINE, np.zeros(len(labels), dtype=bool))
    return Evaluation(
        estimates,
        undefined=tuple(label for label, known in zip(labels, defined, strict=True) if not known),
        rare=tuple(label for label, known, rare in zip(labels, defined, few, strict=True) if known and rare),
        counted=tuple(label for label, counts in zip(labels, headline, strict=True) if counts),
        tested=frozenset(_tested(tests, labels, few, of_group, overall) if measure.tested else ()),
    )


def members(
    tests: TestSet, labels: Sequence[str], defined: NDArray[np.bool_], enough: NDArray[np.bool_]
) -> dict[str, NDArray[np.bool_]]:
    """Which labels [L] each group's mean is over: defined ones of enough patients, or all defined ones without such."""
    found: dict[str, NDArray[np.bool_]] = {}
    for name, group in tests.groups.items():
        of_group = np.array([label in group for label in labels], dtype=bool)
        if of_group.any() or name == HEADLINE:
            best = of_group & defined & enough
            found[name] = best if best.any() else of_group & defined
    return found


def _tested(
    tests: TestSet,
    labels: Sequence[str],
    few: NDArray[np.bool_],
    of_group: Mapping[str, NDArray[np.bool_]],
    overall: bool,
) -> set[str]:
    """Labels of enough patients, and groups of such labels; a ``macro`` of its own where there are enough patients."""
    tested = {label for label, rare in zip(labels, few, strict=True) if not rare}
    tested |= {name for name, at in of_group.items() if at.any() and not few[at].any()}
    if overall:
        enough = tests.patients_of(np.ones(len(tests.patients), dtype=bool)) >= FEWEST_TESTED
        tested = tested | {HEADLINE} if enough else tested - {HEADLINE}
    return tested


def _degrees(
    variances: Array, df: Array, of_group: Mapping[str, NDArray[np.bool_]], labels: Sequence[str]
) -> dict[str, float]:
    """Degrees of freedom of each label and group: those of a mean are Satterthwaite's, of its labels' variances [L]."""
    df = np.maximum(df, 1.0)
    found = dict(zip(labels, df.tolist(), strict=True))
    for name, at in of_group.items():
        of, total = variances[at], float(np.nansum(variances[at]))
        found[name] = total**2 / float(np.nansum(of**2 / df[at])) if total > 0 else 1.0
    return found


def _by_fold(functions: Sequence[Sequence[Prepared]]) -> Array:
    """Values [wanted, K] of the folds, mean over the seeds' functions [wanted]; [wanted, 0] where no fold is ranked."""
    if not all(isinstance(one, InFolds) for of_seed in functions for one in of_seed):
        return np.empty((len(functions[0]), 0))
    return np.mean([[one.values() for one in of_seed] for of_seed in functions], axis=0)  # type: ignore[union-attr]
