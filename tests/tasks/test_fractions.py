"""Label fractions: nested, by patient, every label present."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrbench.tasks.fractions import label_fraction, more_than_asked


def cohort(rows: int, labels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    patients = rng.integers(0, max(2, rows // 2), rows).astype(str)
    targets = (rng.random((rows, labels)) < np.linspace(0.02, 0.5, labels)).astype(np.float32)
    targets[rng.random(targets.shape) < 0.1] = np.nan
    return patients, targets


@settings(max_examples=60, deadline=None)
@given(st.integers(30, 400), st.integers(1, 6), st.integers(0, 99), st.integers(0, 9))
def test_fractions_are_nested_by_patient_and_hold_every_label(rows: int, labels: int, data: int, seed: int) -> None:
    patients, targets = cohort(rows, labels, data)
    before: set[int] = set()
    for fraction in (0.01, 0.05, 0.3, 0.8, 1.0):
        kept = label_fraction(patients, targets, fraction, seed)
        assert before <= set(kept.tolist())
        before = set(kept.tolist())
        assert set(patients[kept]).isdisjoint(np.delete(patients, kept))
        for column in range(labels):
            for value in (0, 1):
                assert (targets[kept, column] == value).any() == (targets[:, column] == value).any()
    assert len(before) == rows


def test_size_is_the_fraction_when_labels_allow() -> None:
    patients, targets = np.arange(1000).astype(str), np.tile([[0.0], [1.0]], (500, 1)).astype(np.float32)
    assert len(label_fraction(patients, targets, 0.1, 0)) == 100
    assert len(label_fraction(patients, targets, 0.01, 0)) == 10


def test_seeds_draw_other_patients_and_the_same_seed_the_same() -> None:
    patients, targets = cohort(500, 2, 0)
    one, again, other = (label_fraction(patients, targets, 0.2, seed) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_fraction_outside_zero_to_one_is_refused() -> None:
    with pytest.raises(ValueError, match="label fraction"):
        label_fraction(np.array(["a"]), np.zeros((1, 1), np.float32), 0.0, 0)


@pytest.mark.parametrize(
    ("fraction", "kept", "said"), [(0.01, 14, "14 of 200 training images (7%)"), (0.1, 22, ""), (1.0, 200, "")]
)
def test_a_fraction_that_keeps_much_more_than_asked_says_so(fraction: float, kept: int, said: str) -> None:
    notes = more_than_asked(fraction, kept, 200)
    assert [said in note for note in notes] == [True] * bool(said)
