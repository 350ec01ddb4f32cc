"""What a metric is of before anything is resampled: labels, groups, values, what counts, what is tested."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import is_
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrbench.leaderboard.board import HEADLINE
from cxrbench.leaderboard.statistics.alignment import TestSet
from cxrbench.leaderboard.statistics.counting import FEWEST_TESTED, rarer_patients
from cxrbench.leaderboard.statistics.in_folds import InFolds
from cxrbench.metrics.classification import macro
from cxrbench.metrics.measure import Measure
from cxrbench.metrics.prepared import Array, Prepared, Weights, never_defined
from cxrbench.metrics.together import Together


@dataclass(frozen=True)
class Outline:
    """One metric of all cells (encoder and training seed) of a test set, as it is.

    ``names``: what is computed of each cell: ``labels`` [L], and ``macro`` where the measure has one of its own.
    ``points`` [cells, names]; ``folds``: of each cell [names, K] where folds are ranked each by itself, else K is 0;
    ``by_chance``: of each cell, as in ``Measure``; ``patients`` [L] of each label's rarer side. ``of_group``: which
    labels [L] each group's mean is over.
    ``undefined``, ``rare``, ``counted``, ``tested``: as in ``Evaluation``.
    """

    measure: Measure
    labels: tuple[str, ...]
    names: tuple[str, ...]
    points: Array
    folds: tuple[Array, ...]
    by_chance: tuple[Mapping[str, float], ...]
    patients: Array
    of_group: Mapping[str, NDArray[np.bool_]]
    undefined: tuple[str, ...]
    rare: tuple[str, ...]
    counted: tuple[str, ...]
    tested: frozenset[str]

    def facts(self) -> list[Any]:
        """What the estimates of any encoder depend on, as plain values."""
        groups = {name: at.tolist() for name, at in self.of_group.items()}
        return [self.measure.name, self.names, groups, self.patients.tolist(), sorted(self.tested)]

    @property
    def overall(self) -> bool:
        """Whether the measure has a ``macro`` of its own."""
        return len(self.names) > len(self.labels)

    def functions(self, prepared: Mapping[str, Prepared]) -> list[Prepared]:
        """Of a cell, one for each of ``names``."""
        return [prepared.get(name, never_defined) for name in self.names]

    def with_groups(self, of_names: Array) -> dict[str, Array]:
        """Rows [names, ...] by name, groups first: the mean over the group's labels that count.

        That of a single label is the label's own row, the same object, so that nobody need compute with both.
        """
        rows = of_names[: len(self.labels)]
        each = list(rows)
        means = {name: each[of] if isinstance(of, int) else macro(rows, of) for name, of in self._meant.items()}
        if self.overall:
            means[HEADLINE] = of_names[len(self.labels)]
        return means | {label: row for label, row in zip(self.labels, each, strict=True) if label not in means}

    @cached_property
    def points_by_name(self) -> dict[str, Array]:
        """``points`` of all cells [cells], by name as ``with_groups`` has them."""
        cells = [self.with_groups(one) for one in self.points]
        return {name: np.array([of[name] for of in cells]) for name in cells[0]}

    @cached_property
    def _meant(self) -> dict[str, "int | NDArray[np.bool_]"]:
        """The labels [L] that a group's mean is over; the place of the label where it is one."""
        return {name: int(at.argmax()) if np.count_nonzero(at) == 1 else at for name, at in self.of_group.items()}


@dataclass(frozen=True)
class Points:
    """A metric of one cell as it is: by label, and ``macro`` where the measure has one; and of each fold [K].

    ``folds``: where folds are ranked each by itself. ``by_chance``: as in ``Measure``.
    """

    values: Mapping[str, float]
    folds: Mapping[str, Array]
    by_chance: Mapping[str, float]

    def facts(self) -> list[Any]:
        """As plain values."""
        return [self.values, {name: of.tolist() for name, of in self.folds.items()}, self.by_chance]

    @staticmethod
    def of(facts: Sequence[Any]) -> "Points":
        """From ``facts``."""
        values, folds, by_chance = facts
        return Points(values, {name: np.array(of) for name, of in folds.items()}, by_chance)


@dataclass(frozen=True)
class OfCell:
    """The prepared metrics of a cell, by label, and all of them as one function."""

    metrics: tuple[Mapping[str, Prepared], ...]
    functions: tuple[Prepared, ...]
    together: Together | None

    @staticmethod
    def of(metrics: Sequence[Mapping[str, Prepared]]) -> "OfCell":
        """Of each metric."""
        functions = tuple(one for of in metrics for one in of.values())
        return OfCell(tuple(metrics), functions, Together.of(functions) if functions else None)

    def only(self, functions: Sequence[Prepared]) -> Together:
        """Of these metrics, in this order."""
        same = len(functions) == len(self.functions) and all(map(is_, functions, self.functions))
        return self.together if same and self.together else Together.of(functions)

    def points(self, ones: Weights, by_chance: Sequence[Mapping[str, float]]) -> list[Points]:
        """Of each metric, on the test rows as they are (``ones`` [n, 1]), and what chance alone would give."""
        values = iter(self.together(ones)[:, 0].tolist() if self.together else ())
        return [
            Points(
                {name: next(values) for name in of},
                {name: one.values() for name, one in of.items() if isinstance(one, InFolds)},
                chance,
            )
            for of, chance in zip(self.metrics, by_chance, strict=True)
        ]


def outline(tests: TestSet, measure: Measure, cells: Sequence[Points]) -> Outline | None:
    """From what the metric is of each cell; None if it does not belong to this task.

    A label that the test set leaves undefined, that some encoder could not be trained on, or that fewer than
    ``FEWEST_TESTED`` patients have (or lack), is left out of the mean of *every* encoder; the rare ones unless a group
    has no others.
    """
    labels = tuple(label for label in tests.labels if any(label in one.values for one in cells))
    overall = any(HEADLINE in one.values for one in cells) and HEADLINE not in labels
    if not labels and not overall:
        return None
    names = (*labels, HEADLINE) if overall else labels
    values = np.array([[one.values.get(name, np.nan) for name in names] for one in cells])
    defined = np.asarray(np.isfinite(values[:, : len(labels)]).all(axis=0))
    patients = np.array([rarer_patients(tests, label) for label in labels], dtype=np.float64)
    few = patients < FEWEST_TESTED
    of_group = members(tests, measure, labels, defined, ~few)
    headline = of_group.get(HEADLINE, np.zeros(len(labels), dtype=bool))
    return Outline(
        measure=measure,
        labels=labels,
        names=names,
        points=values,
        folds=tuple(_by_fold(one, names) for one in cells),
        by_chance=tuple(one.by_chance for one in cells),
        patients=patients,
        of_group=of_group,
        undefined=tuple(label for label, known in zip(labels, defined, strict=True) if not known),
        rare=tuple(label for label, known, rare in zip(labels, defined, few, strict=True) if known and rare),
        counted=tuple(label for label, counts in zip(labels, headline, strict=True) if counts),
        tested=frozenset(_tested(tests, labels, few, of_group, overall) if measure.tested else ()),
    )


def members(
    tests: TestSet, measure: Measure, labels: Sequence[str], defined: NDArray[np.bool_], enough: NDArray[np.bool_]
) -> dict[str, NDArray[np.bool_]]:
    """Which labels [L] each group's mean is over: defined ones of enough patients, or all defined ones without such.

    None where the measure has no mean over them.
    """
    found: dict[str, NDArray[np.bool_]] = {}
    for name, group in tests.groups.items():
        of_group = np.array([label in group for label in labels], dtype=bool)
        if of_group.any() or name == HEADLINE:
            there = of_group & defined & measure.has_mean(group)
            best = there & enough
            found[name] = best if best.any() else there
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
        enough = tests.patient_count >= FEWEST_TESTED
        tested = tested | {HEADLINE} if enough else tested - {HEADLINE}
    return tested


def _by_fold(one: Points, names: Sequence[str]) -> Array:
    """Values [names, K] of the folds; K is 0 where some name is not ranked by fold."""
    return np.array([one.folds[x] for x in names]) if {*names} <= {*one.folds} else np.empty((len(names), 0))
