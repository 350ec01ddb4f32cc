"""Splits by patient: sizes, leakage, and independence of row order, over random cohorts."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrbench.data.splits import by_patient, near_equal, shared_patients, stratified, without_shared

THIRDS = {"train": 0.7, "val": 0.1, "test": 0.2}
cohorts = st.lists(st.integers(0, 40).map(str), min_size=1, max_size=120)


@settings(max_examples=60, deadline=None)
@given(cohorts, st.integers(0, 5), st.randoms(use_true_random=False))
def test_patients_stay_whole_and_row_order_does_not_matter(patients: list[str], seed: int, random) -> None:
    splits = by_patient(patients, THIRDS, seed)
    assert shared_patients(patients, splits.tolist()) == []
    order = list(range(len(patients)))
    random.shuffle(order)
    assert by_patient([patients[i] for i in order], THIRDS, seed).tolist() == splits[order].tolist()


@settings(max_examples=60, deadline=None)
@given(cohorts)
def test_sizes_are_as_near_as_whole_patients_allow(patients: list[str]) -> None:
    splits = by_patient(patients, THIRDS)
    largest = max(patients.count(p) for p in patients)
    cut = np.cumsum([(splits == name).sum() for name in THIRDS])
    wanted = np.cumsum(list(THIRDS.values())) * len(patients)
    assert (np.abs(cut - wanted) <= largest / 2 + 0.5 + 1e-9).all()


@pytest.mark.parametrize(
    ("rows", "fractions", "sizes"),
    [
        (26_684, {"train": 0.6, "val": 0.2, "test": 0.2}, (16_010, 5_337, 5_337)),  # RSNA, docs/methods.md, splits
        (12_047, {"train": 0.7, "val": 0.15, "test": 0.15}, (8_433, 1_807, 1_807)),  # SIIM-ACR
        (15_000, {"train": 0.9, "val": 0.1}, (13_500, 1_500)),  # VinDr-CXR
    ],
)
def test_the_published_sizes(rows: int, fractions: dict[str, float], sizes: tuple[int, ...]) -> None:
    splits = by_patient([f"image{i}" for i in range(rows)], fractions)
    assert tuple((splits == name).sum() for name in fractions) == sizes


def test_the_split_is_pinned_seeded_and_nearly_stable_under_growth() -> None:
    patients = [f"p{i}" for i in range(1000)]
    splits = by_patient(patients, THIRDS)
    assert splits[:8].tolist() == ["train", "test"] + ["train"] * 6  # what every release must keep giving
    assert (by_patient(patients, THIRDS, seed=1) != splits).mean() > 0.3
    grown = by_patient([*patients, "newcomer"], THIRDS)
    assert (grown[:1000] != splits).sum() <= 2


def test_shared_patients_are_named() -> None:
    assert shared_patients(["b", "a", "b", "c", "a"], ["train", "test", "test", "val", "train"]) == ["a", "b"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9).map(str), st.sampled_from(["train", "val", "test"])), min_size=1))
def test_published_splits_that_share_patients_lose_rows_of_training_first(rows: list[tuple[str, str]]) -> None:
    patients, splits = (list(column) for column in zip(*rows, strict=True))
    kept = without_shared(patients, splits)
    left = [row for row, keep in zip(rows, kept, strict=True) if keep]
    assert shared_patients(*(list(column) for column in zip(*left, strict=True))) == []
    assert {p for p, _ in left} == set(patients)  # nobody is lost altogether
    assert [r for r in rows if r[1] == "test"] == [r for r in left if r[1] == "test"]
    tested = {p for p, s in rows if s == "test"}
    assert [r for r in rows if r[1] == "val" and r[0] not in tested] == [r for r in left if r[1] == "val"]


def test_identifiers_that_may_mean_one_patient_are_paired_across_splits() -> None:
    ids = ["3", "3.0", "007", "7", "p1", "P1", "8", "8.0", "30", "3.5"]
    splits = ["train", "test", "train", "val", "train", "test", "train", "train", "test", "test"]
    assert near_equal(ids, splits) == [("007", "7"), ("3", "3.0"), ("P1", "p1")]


def strata(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((rows, 4)) < [0.5, 0.1, 0.04, 0.02]


def test_stratified_splits_have_their_share_of_every_label() -> None:
    patients, of = [f"p{n}" for n in range(500)], strata(500)
    fractions = {"train": 0.7, "val": 0.1, "test": 0.2}
    splits = stratified(patients, fractions, of, 3)
    for name, share in fractions.items():
        assert abs((splits == name).sum() - share * 500) <= 2
        assert (np.abs(of[splits == name].sum(0) - share * of.sum(0)) <= 1).all()
    unstratified = by_patient(patients, fractions, 3)
    far = [np.abs(of[unstratified == name].sum(0) - share * of.sum(0)).max() for name, share in fractions.items()]
    assert max(far) > 2  # or this would hold of any splits


def test_stratified_splits_keep_patients_whole_and_know_no_order_of_rows() -> None:
    patients = [f"p{n % 80}" for n in range(300)]
    of = strata(300, 1)
    first = stratified(patients, {"train": 7, "val": 1, "test": 2}, of, 0)
    assert shared_patients(patients, first.tolist()) == []
    order = np.random.default_rng(2).permutation(300)
    again = stratified([patients[row] for row in order], {"train": 7, "val": 1, "test": 2}, of[order], 0)
    np.testing.assert_array_equal(again, first[order])
    other = stratified(patients, {"train": 7, "val": 1, "test": 2}, of, 1)
    assert (other != first).any()


def test_stratified_counts_are_those_of_scikit_learn() -> None:
    from sklearn.model_selection import train_test_split

    of = strata(400)[:, :1]
    theirs: Any = train_test_split(of[:, 0], test_size=0.25, stratify=of[:, 0], random_state=0)
    ours = stratified([f"p{n}" for n in range(400)], {"train": 3, "test": 1}, of, 0)
    counts = [of[ours == name].sum() for name in ("train", "test")]
    np.testing.assert_allclose(counts, [part.sum() for part in theirs], atol=1)
