from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit, logit, softmax
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from cxrbench.leaderboard.calibration.recalibration import recalibrate, temperature, temperature_of_classes
from cxrbench.predictions import Predictions

LABELS = ("Nodule", "Effusion", "Rare")


def made(kind: Any = "multilabel", n=600, sharpness=4.0, seed=0) -> Predictions:
    """Predictions whose logits are ``sharpness`` times what they should be; half validation, half test."""
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((n, 3)) * 1.5 - (0, 0.5, 1)
    if kind == "multiclass":
        p = softmax(logits, axis=1)
        targets = np.eye(3)[[rng.choice(3, p=row) for row in p]]
        scores = softmax(sharpness * logits, axis=1)
    else:
        targets = (rng.random((n, 3)) < expit(logits)).astype(float)
        scores = expit(sharpness * logits)
    rows = pd.DataFrame({
        "image_id": [f"i{i}" for i in range(n)],
        "patient_id": [f"p{i // 2}" for i in range(n)],
        "split": ["val"] * (n // 2) + ["test"] * (n - n // 2),
        **{f"score:{label}": scores[:, k] for k, label in enumerate(LABELS)},
        **{f"target:{label}": targets[:, k] for k, label in enumerate(LABELS)},
    })  # fmt: skip
    return Predictions(rows, LABELS, kind, {"macro": LABELS}, synthetic=False)


def of_split(one: Predictions, split: str) -> pd.DataFrame:
    return one.rows.loc[one.rows["split"] == split]


def test_temperature_is_logistic_regression_on_the_logit_without_intercept():
    one = made()
    val = of_split(one, "val")
    scores, targets = one.scores(val)[:, 0], one.targets(val)[:, 0]
    model = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(logit(scores)[:, None], targets)
    fitted = temperature(scores, targets)
    assert fitted == pytest.approx(1 / model.coef_[0, 0], rel=1e-6)
    assert fitted == pytest.approx(4, rel=0.25)  # How much too sharp they were made.


def test_temperature_of_classes_is_where_torch_lbfgs_ends():
    one = made("multiclass")
    val = of_split(one, "val")
    margins, truth = torch.from_numpy(np.log(one.scores(val))), torch.from_numpy(one.targets(val).argmax(1))
    log_t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_t], max_iter=100, tolerance_grad=1e-12, tolerance_change=1e-14)

    def loss():
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(margins / log_t.exp(), truth)
        value.backward()
        return value

    optimizer.step(loss)  # pyright: ignore[reportArgumentType]
    fitted = temperature_of_classes(one.scores(val), one.targets(val))
    assert fitted == pytest.approx(log_t.exp().item(), rel=1e-5)


def test_two_classes_and_one_label_have_the_same_temperature():
    one = made()
    p, t = one.scores(one.rows)[:, 0], one.targets(one.rows)[:, 0]
    both = temperature_of_classes(np.stack([p, 1 - p], 1), np.stack([t, 1 - t], 1))
    assert both == pytest.approx(temperature(p, t), rel=1e-6)


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_overconfident_scores_become_better_on_images_that_it_was_not_fitted_to(kind, method):
    before = made(kind)
    after = recalibrate(before, method)
    assert after.notes == ()
    test = before.rows["split"] == "test"
    truth = before.targets(before.rows.loc[test])
    old, new = before.scores(before.rows.loc[test]), after.scores(after.rows.loc[test])
    if kind == "multiclass":
        np.testing.assert_allclose(new.sum(1), 1)
        assert log_loss(truth.argmax(1), new) < 0.7 * log_loss(truth.argmax(1), old)
    else:
        for k in range(3):
            assert log_loss(truth[:, k], new[:, k]) < 0.7 * log_loss(truth[:, k], old[:, k])
    assert after.rows.drop(columns=[f"score:{x}" for x in LABELS]).equals(
        before.rows.drop(columns=[f"score:{x}" for x in LABELS])
    )


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_test_targets_change_nothing_and_the_order_of_a_label_stays(method):
    before = made()
    hidden = before.rows.copy()
    hidden.loc[hidden["split"] == "test", [f"target:{x}" for x in LABELS]] = np.nan
    after, blind = recalibrate(before, method), recalibrate(replace(before, rows=hidden), method)
    np.testing.assert_array_equal(after.scores(after.rows), blind.scores(blind.rows))
    order = before.scores(before.rows)[:, 0].argsort()
    assert (np.diff(after.scores(after.rows)[order, 0]) >= -1e-12).all()


def test_isotonic_is_scikit_learns_clipped_so_that_the_log_loss_is_finite():
    before = made(n=80, sharpness=1)
    after = recalibrate(before, "isotonic")
    val = before.rows["split"] == "val"
    s, t = before.scores(before.rows)[:, 1], before.targets(before.rows)[:, 1]
    free = IsotonicRegression().fit(s[val], t[val]).predict(s[val])
    assert free.min() == 0
    np.testing.assert_allclose(after.scores(after.rows.loc[val])[:, 1], np.clip(free, 1 / 42, 41 / 42), atol=1e-12)
    assert after.scores(after.rows).min() > 0


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_label_without_both_classes_in_validation_is_left_as_it_is_and_named(method, value):
    before = made()
    rows = before.rows.copy()
    rows.loc[rows["split"] == "val", "target:Rare"] = value
    rows["score:Nodule"] = np.nan  # Could not be trained: said elsewhere.
    before = replace(before, rows=rows)
    after = recalibrate(before, method)
    np.testing.assert_array_equal(after.scores(rows)[:, [0, 2]], before.scores(rows)[:, [0, 2]])
    assert (after.scores(after.rows)[:, 1] != before.scores(rows)[:, 1]).any()
    (note,) = after.notes
    assert note == f"{method}: scores left as they are, validation images do not show both classes: Rare"
    assert set(after.cell["temperatures"]) == ({"Effusion"} if method == "temperature" else set())


def test_exclusive_classes_one_of_which_validation_lacks():
    before = made("multiclass")
    rows = before.rows.loc[~((before.rows["split"] == "val") & (before.rows["target:Rare"] == 1))]
    before = replace(before, rows=rows)
    assert recalibrate(before, "temperature").notes == ()
    after = recalibrate(before, "isotonic")
    np.testing.assert_array_equal(after.scores(after.rows), before.scores(rows))
    assert "Nodule, Effusion, Rare" in after.notes[0]


def test_without_validation_images_nothing_changes():
    before = made()
    rows = of_split(before, "test")
    for kind in ("multilabel", "multiclass"):
        for method in ("temperature", "isotonic"):
            after = recalibrate(replace(before, rows=rows, kind=kind), method)
            np.testing.assert_array_equal(after.scores(after.rows), before.scores(rows))
            assert len(after.notes) == 1


def test_separable_and_meaningless_scores_have_no_temperature_and_stay():
    targets = np.array([0.0, 0, 1, 1])
    assert temperature(np.array([0.4, 0.3, 0.6, 0.7]), targets) is None
    assert temperature(np.array([0.6, 0.7, 0.4, 0.3]), targets) is None
    assert temperature(np.array([0.0, 0.0, 1.0, 1.0]), targets) is None
    before = made()
    rows = before.rows.copy()
    rows["score:Rare"] = np.where(rows["target:Rare"] == 1, 0.6, 0.4)
    after = recalibrate(replace(before, rows=rows), "temperature")
    assert after.rows["score:Rare"].equals(rows["score:Rare"])
    assert after.notes[0].endswith("no temperature from 0.1 to 10 fits the validation images best: Rare")
    turned = softmax(-np.log(before.scores(rows)), axis=1)
    assert temperature_of_classes(turned, before.targets(rows)) is None
