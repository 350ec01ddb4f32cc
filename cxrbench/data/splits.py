"""Splits by patient, the same on every machine."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.tables import identifier

SEED = 42


def by_patient(patient_ids: Sequence[str], fractions: Mapping[str, float], seed: int = SEED) -> NDArray[np.str_]:
    """Assign a split to every row; all rows of a patient get the same one.

    Patients are put in the order of sha256("seed|patient") and dealt out in turn until each split has its share of
    the rows; ``fractions`` (in order, relative weights) are met as nearly as whole patients allow, and exactly, up to
    rounding, where every patient has one row: 60/20/20 of RSNA's 26,684 is 16,010/5,337/5,337. The result depends
    neither on the order of the rows nor on any library's random numbers, and adding a patient moves only patients next
    to a cut. Returns one split name per row.
    """
    ids, patient_of_row, counts = np.unique(np.asarray(patient_ids, str), return_inverse=True, return_counts=True)
    keys = [hashlib.sha256(f"{seed}|{patient}".encode()).digest() for patient in ids]
    order = np.array(sorted(range(len(ids)), key=keys.__getitem__), np.int64)
    shares = np.cumsum(list(fractions.values())) / sum(fractions.values())
    ends = np.round(shares * len(patient_ids))
    middle = np.cumsum(counts[order]) - counts[order] / 2  # a patient goes where the middle of his rows falls
    splits = np.minimum(np.searchsorted(ends, middle, side="right"), len(ends) - 1)
    split_of_patient = np.empty(len(ids), np.int64)
    split_of_patient[order] = splits
    return np.array(list(fractions))[split_of_patient[patient_of_row]]


def stratified(
    patient_ids: Sequence[str], fractions: Mapping[str, float], strata: NDArray[np.bool_], seed: int
) -> NDArray[np.str_]:
    """Assign a split to every row so that each has its share of the rows, and of every stratum's; whole patients.

    ``strata``: [rows, K], which rows are of which. Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011), of
    patients instead of rows: the stratum that the fewest patients are left of is dealt first, each of its patients
    to the split that still lacks most of it; who is of none is dealt last, by rows. Patients stand in the order of
    sha256("seed|patient"), those with more rows of the stratum first, so the result depends on no order of rows. Unlike
    with ``by_patient``, another patient may move many. Returns one split name per row.
    """
    ids, patient_of_row = np.unique(np.asarray(patient_ids, str), return_inverse=True)
    keys = [hashlib.sha256(f"{seed}|{patient}".encode()).digest() for patient in ids]
    order = np.array(sorted(range(len(ids)), key=keys.__getitem__), np.int64)
    counts = np.zeros((len(ids), strata.shape[1] + 1))
    np.add.at(counts, patient_of_row, np.concatenate([strata, np.ones((len(strata), 1), bool)], axis=1))
    shares = np.array(list(fractions.values()), np.float64) / sum(fractions.values())
    lacking = shares[:, None] * counts.sum(0)  # [splits, K + 1], the last of them all rows
    split_of = np.full(len(ids), -1)
    while (left := order[split_of[order] < 0]).size:
        remaining = (counts[left] > 0).sum(0)
        open_strata = np.flatnonzero(remaining[:-1])
        k = int(open_strata[np.argmin(remaining[open_strata])]) if open_strata.size else -1
        of = left[counts[left, k] > 0]
        for patient in of[np.argsort(-counts[of, k], kind="stable")]:
            best = max(range(len(shares)), key=lambda s: (round(lacking[s, k], 9), round(lacking[s, -1], 9)))
            split_of[patient] = best
            lacking[best] -= counts[patient]
    return np.array(list(fractions))[split_of[patient_of_row]]


def shared_patients(patient_ids: Sequence[str], splits: Sequence[str]) -> list[str]:
    """Patients who are in more than one split, sorted. Must be none."""
    first: dict[str, str] = {}
    return sorted({p for p, s in zip(patient_ids, splits, strict=True) if first.setdefault(p, s) != s})


def without_shared(patient_ids: Sequence[str], splits: Sequence[str]) -> NDArray[np.bool_]:
    """Which rows stay, where published splits share patients: test keeps all of its rows, val those that test has not.

    A patient of ``test`` has no rows elsewhere afterwards, one of ``val`` none in ``train``. Returns a mask [rows].
    """
    rank = {"train": 0, "val": 1, "test": 2}
    latest: dict[str, int] = {}
    for patient, split in zip(patient_ids, splits, strict=True):
        latest[patient] = max(latest.get(patient, 0), rank[split])
    return np.array([rank[s] == latest[p] for p, s in zip(patient_ids, splits, strict=True)], bool)


def near_equal(patient_ids: Sequence[str], splits: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of patients in different splits whose identifiers differ in nothing that means anything, sorted.

    ``3`` and ``3.0``, ``007`` and ``7``, ``p1`` and ``P1``: a spreadsheet or a join may have made two of one. One pair
    per such patient.
    """
    alike: dict[str, dict[str, str]] = {}
    for patient, split in dict.fromkeys(zip(patient_ids, splits, strict=True)):
        alike.setdefault(_bare(patient), {})[patient] = split
    pairs = []
    for ids in alike.values():
        if len(ids) > 1 and len(set(ids.values())) > 1:
            first = min(ids)
            other = min(patient for patient in ids if ids[patient] != ids[first])
            pairs.append((first, other))
    return sorted(pairs)


def _bare(patient: str) -> str:
    """An identifier without blanks, case, leading zeros and an empty fraction."""
    return identifier(patient.strip()).casefold().lstrip("0")
