"""What a test set has to say of a label: rows that count, positives, patients; and how few are too few."""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrbench.leaderboard.families import CLASSIFICATION, FAMILIES, REGRESSION
from cxrbench.leaderboard.statistics.alignment import TestSet

FEWEST_WITH_INTERVAL = 5
"""Patients of the rarer class below which a value has no interval: with 4, the best of them covers 80% for 95%."""
FEWEST_TESTED = 10
"""Below which a label is not tested and takes no part in a mean."""
FEW = 20
"""Below which an interval is marked as one of few patients."""


def scored(tests: TestSet, label: str, among: Collection[str] | None = None) -> NDArray[np.bool_]:
    """Which test rows [n] count for a label, or for any label of a group (of those ``among`` these, if there are any).

    Those with a known target; of queries, those that have something to find.
    """
    of_group = tests.groups.get(label, (label,))
    names = [name for name in of_group if among is None or name in among] or of_group
    members = [tests.labels.index(name) for name in names]
    targets = tests.targets[:, members]
    counts_for = targets > 0 if tests.kind == "retrieval" else ~np.isnan(targets)
    return np.asarray(counts_for.any(1))


def patients_scored(tests: TestSet, label: str, among: Collection[str] | None = None) -> int:
    """How many patients have a test row that counts for a label or group."""
    return tests.patients_of(scored(tests, label, among))


def counts(tests: TestSet, label: str) -> tuple[int, int | None]:
    """Test rows that count, and of them those with something (a finding, pixels, boxes, a number); None for groups."""
    rows = int(scored(tests, label).sum())
    if label in tests.groups:
        return rows, None
    if FAMILIES[tests.kind] is REGRESSION:
        return rows, rows
    return rows, int((tests.targets[:, tests.labels.index(label)] > 0).sum())


def rarer_patients(tests: TestSet, label: str) -> int:
    """Patients of a label's rarer side: with the finding, or (classification) without it; of a group, the fewest.

    Whatever a metric of a rare finding says rests on them. Of queries: patients with something to find; of numbers:
    those of whom one is known.
    """
    if label in tests.groups:
        return min((rarer_patients(tests, member) for member in tests.groups[label]), default=0)
    targets = tests.targets[:, tests.labels.index(label)]
    if FAMILIES[tests.kind] is REGRESSION:
        return tests.patients_of(~np.isnan(targets))
    sides = [targets > 0]
    if FAMILIES[tests.kind] is CLASSIFICATION:
        sides.append(targets == 0)
    return min(map(tests.patients_of, sides))


class Counted(NamedTuple):
    """What a label's, or a group's, value rests on.

    ``n`` test rows of ``patients``, ``positives`` of them with a positive target (None of a group); ``rarest``: the
    label of fewest patients, ``rarer`` of them on its rarer side.
    """

    n: int
    patients: int
    positives: int | None
    rarest: str
    rarer: int

    @property
    def gap(self) -> str:
        """Why there is no interval; "" where there are patients enough."""
        few = self.rarer < FEWEST_WITH_INTERVAL
        return f"no interval: {self.rarest} has {self.rarer} patients on its rarer side" if few else ""


def counted(tests: TestSet, label: str, among: Collection[str] | None = None) -> Counted:
    """Of a label or group; of a group, of those of its labels that are ``among`` these, if there are any."""
    members = tests.groups.get(label, (label,))
    members = [x for x in members if not among or x in among] or list(members)
    rarer, rarest = min((rarer_patients(tests, x), x) for x in members)
    rows = int(scored(tests, label, among).sum())
    return Counted(rows, patients_scored(tests, label, among), counts(tests, label)[1], rarest, rarer)
