"""Which images are shown: thresholds against scikit-learn, kinds, and what one of two encoders alone gets right."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_curve

from cxrbench.looking.cases import (
    BEST,
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    MEDIAN,
    ONLY_FIRST,
    ONLY_SECOND,
    Judged,
    judged,
    picked,
    rescued,
    youden,
)
from cxrbench.predictions import Predictions


def predictions(scores: list[float], truth: list[float], val: int) -> Predictions:
    """The first ``val`` rows are of validation."""
    ids = [f"i{k:02}" for k in range(len(scores))]
    rows = pd.DataFrame({"image_id": ids, "patient_id": ids, "score:N": scores, "target:N": truth})
    rows["split"] = ["val"] * val + ["test"] * (len(scores) - val)
    return Predictions(rows, ("N",), "multilabel", {"macro": ("N",)}, False)


@pytest.mark.parametrize("seed", range(5))
def test_the_threshold_has_the_largest_youden_index_that_scikit_learn_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, truth = rng.integers(0, 30, 80) / 30, (rng.random(80) < 0.3).astype(float)
    false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
    cut = youden(scores, truth)
    positive = scores >= cut
    assert positive[truth == 1].mean() - positive[truth == 0].mean() == pytest.approx((true - false).max())
    assert cut not in scores


def test_without_both_classes_there_is_no_threshold() -> None:
    assert math.isnan(youden(np.array([0.1, 0.9]), np.ones(2)))
    assert math.isnan(youden(np.array([0.5, 0.5]), np.array([0.0, 1.0])))
    known = youden(np.array([0.1, 0.9, 0.5]), np.array([0.0, 1.0, np.nan]))
    assert known == 0.5


def test_false_is_what_lies_beyond_the_threshold_the_worst_first() -> None:
    ids = tuple("abcdefghij")
    truth = np.array([1, 1, 1, 1, 1, 0, 0, 0, 0, 0.0])
    scores = np.array([[0.9, 0.8, 0.6, 0.2, 0.1, 0.95, 0.7, 0.3, 0.2, 0.1]])
    cases = picked(Judged("N", ids, truth, scores, (0.5,)), 8)
    assert [(c.kind, c.image_id) for c in cases] == [
        (FALSE_NEGATIVE, "e"), (FALSE_NEGATIVE, "d"), (FALSE_POSITIVE, "f"), (FALSE_POSITIVE, "g"),
        (MEDIAN, "c"), (BEST, "a"), (BEST, "b"),
    ]  # fmt: skip
    assert cases[0].scores == (0.1,)
    assert cases[2].truth == 0
    calm = picked(Judged("N", ids, truth, scores, (0.05,)), 4)
    assert [c.kind for c in calm] == [FALSE_POSITIVE, MEDIAN, BEST]  # at that threshold nothing is missed


def test_rescue_cases_are_right_by_one_alone_and_the_clearest_come_first() -> None:
    truth = np.array([1, 1, 0, 0, 1, 0.0])
    first = np.array([0.9, 0.6, 0.1, 0.8, 0.9, 0.2])
    second = np.array([0.1, 0.2, 0.9, 0.2, 0.8, 0.1])
    of = Judged("N", tuple("abcdef"), truth, np.stack([first, second]), (0.5, 0.3))
    cases = rescued(of, 4)
    assert [(c.kind, c.image_id) for c in cases] == [(ONLY_FIRST, "c"), (ONLY_FIRST, "a"), (ONLY_SECOND, "d")]
    swapped = rescued(replace(of, scores=of.scores[::-1], thresholds=(0.3, 0.5)), 4)
    assert [(c.kind, c.image_id) for c in swapped] == [(ONLY_FIRST, "d"), (ONLY_SECOND, "c"), (ONLY_SECOND, "a")]


def test_images_of_two_encoders_are_paired_and_unknown_truth_is_left_out() -> None:
    one = predictions([0.1, 0.9, 0.2, 0.8, 0.6, 0.3], [0, 1, 0, 1, np.nan, 1], 2)
    other = predictions([0.4, 0.6, 0.5, 0.1, 0.6, np.nan], [0, 1, 0, 1, np.nan, 1], 2)
    of = judged([one, other], "N")
    assert of.ids == ("i02", "i03")
    np.testing.assert_array_equal(of.scores, [[0.2, 0.8], [0.5, 0.1]])
    assert of.thresholds == (0.5, 0.5)
    np.testing.assert_array_equal(of.right, [[True, True], [False, False]])
