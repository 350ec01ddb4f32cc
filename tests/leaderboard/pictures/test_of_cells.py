"""Curves and diagrams from saved predictions are scikit-learn's, and their areas the board's."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from cxrbench.leaderboard.calibration.bins import binned, pooled
from cxrbench.leaderboard.calibration.variants import variants
from cxrbench.leaderboard.pictures.curves import TOLERANCE, curves, pr_line, roc_line
from cxrbench.leaderboard.pictures.polylines import Polyline, corners, mean_line, thinned
from cxrbench.leaderboard.pictures.reliability import reliability
from cxrbench.leaderboard.statistics.alignment import align, by_task
from cxrbench.leaderboard.tables import build


@pytest.fixture
def scored():
    generator = np.random.default_rng(1)
    targets = (generator.random(700) < 0.2).astype(float)
    scores = np.round(targets + generator.standard_normal(700), 1)  # with ties, also between the classes
    return scores, targets


def test_roc_points_are_scikit_learns(scored):
    line = roc_line(*scored)
    x, y, _ = roc_curve(scored[1], scored[0], drop_intermediate=False)
    np.testing.assert_allclose(line.x, x, atol=1e-15)
    np.testing.assert_allclose(line.y, y, atol=1e-15)
    assert line.area() == pytest.approx(roc_auc_score(scored[1], scored[0]), abs=1e-12)


def test_corners_are_the_points_of_scikit_learns_roc_curve_that_are_not_on_a_line_of_steps(scored):
    targets = scored[1]
    scores = np.random.default_rng(4).permutation(len(targets)).astype(float)  # without ties all is steps
    few = corners(roc_line(scores, targets))
    x, y, _ = roc_curve(targets, scores)
    assert few.area() == pytest.approx(roc_auc_score(targets, scores), abs=1e-12)
    assert len(few.x) == len(x) < len(targets) / 2
    np.testing.assert_allclose(few.x, x, atol=1e-15)
    np.testing.assert_allclose(few.y, y, atol=1e-15)


def test_precision_recall_steps_go_through_scikit_learns_points_and_their_area_is_average_precision(scored):
    line = pr_line(*scored)
    precision, recall, _ = precision_recall_curve(scored[1], scored[0])
    points = {(r, p) for r, p in zip(recall[:-1], precision[:-1], strict=True)}
    ends = [*zip(line.x[1::2], line.y[1::2], strict=True)]  # each step's right end
    assert all(min(np.hypot(r - x, p - y) for r, p in points) < 1e-12 for x, y in ends)
    assert {round(r, 9) for r in recall if r > 0} == {round(x, 9) for x, _ in ends}
    assert line.area() == pytest.approx(average_precision_score(scored[1], scored[0]), abs=1e-12)


@pytest.mark.parametrize("draw", [roc_line, pr_line])
def test_thinned_curves_of_many_images_keep_their_area_and_stay_near(draw):
    generator = np.random.default_rng(2)
    targets = (generator.random(30_000) < 0.1).astype(float)
    line = draw(1.2 * targets + generator.standard_normal(30_000), targets)
    few = thinned(line, TOLERANCE)
    assert len(few.x) <= 400 < len(line.x)
    assert few.area() == pytest.approx(line.area(), abs=1e-3)
    if draw is roc_line:  # it does not fall, so the gap at each x is bounded where it is not upright
        assert np.abs(np.interp(line.x, few.x, few.y) - line.y).mean() < 1e-3
    assert {*zip(few.x, few.y, strict=True)} <= {*zip(line.x, line.y, strict=True)}


def test_thinning_takes_only_points_on_straight_lines_at_tolerance_zero():
    line = Polyline(np.array([0, 0, 0, 0.5, 1.0]), np.array([0, 0.2, 0.4, 0.7, 1.0]))
    assert [*thinned(line, 1e-12).y] == [0, 0.4, 1.0]


def test_the_mean_of_lines_that_stand_upright_has_the_mean_of_their_areas():
    generator = np.random.default_rng(3)
    lines = []
    for _ in range(3):
        targets = (generator.random(50) < 0.4).astype(float)
        lines.append(roc_line(generator.standard_normal(50) + targets, targets))
    mean = mean_line(lines, [1, 2, 5])
    assert mean.area() == pytest.approx(np.average([one.area() for one in lines], weights=[1, 2, 5]), abs=1e-12)
    assert (np.diff(mean.x) >= 0).all()
    assert (np.diff(mean.y) >= -1e-12).all()
    assert (mean.x[0], mean.y[0], mean.x[-1], mean.y[-1]) == pytest.approx((0, 0, 1, 1))


@pytest.mark.parametrize(("kind", "metric"), [("roc", "auroc"), ("pr", "auprc")])
@pytest.mark.parametrize("folded", [False, True])
def test_areas_are_the_boards_values_with_seeds_unknown_targets_and_folds(made_up, kind, metric, folded):
    cells = [made_up(e, seed=s, strength=1.0) for e in ("spcl", "random") for s in (0, 1)]
    for one in cells:
        one.rows.loc[one.rows["image_id"] == "i0007", "target:Effusion"] = np.nan
        if folded:
            one.rows["fold"] = one.rows["patient_id"].str[1:].astype(int) % 3
    board = build(cells, replicates=50, metrics=(metric,))
    ((task, of),) = by_task(cells).items()
    found = curves(align(task, of), kind)
    assert found is not None
    assert len(found.curves) == 2 * 3
    for curve in found.curves:
        (value,) = [r.value for r in board.records if (r.encoder, r.label) == (curve.encoder, curve.label)]
        assert curve.area == pytest.approx(value, abs=1e-12)
        assert np.trapezoid(curve.y, curve.x) == pytest.approx(value, abs=1e-3)


def test_the_mean_is_over_the_labels_that_the_headline_counts(made_up):
    labels = ("Effusion", "Rare", "Never")
    cells = [made_up(e, labels=labels) for e in ("spcl", "random")]
    for one in cells:
        one.rows["target:Never"] = 0.0
        one.rows["target:Rare"] = (one.rows["image_id"] == "i0000").astype(float)
    ((task, of),) = by_task(cells).items()
    found = curves(align(task, of), "roc", labels=())
    assert found is not None
    assert (found.labels, found.counted) == ((), ("Effusion",))
    (value,) = [r.value for r in build(cells, replicates=20, metrics=("auroc",)).records
                if (r.encoder, r.label) == ("spcl", "macro")]  # fmt: skip
    assert {c.encoder: c.area for c in found.curves}["spcl"] == pytest.approx(value, abs=1e-12)


def test_other_than_classification_has_no_curves(made_up):
    one = made_up("spcl")
    ((task, of),) = by_task([one]).items()
    assert curves(replace(align(task, of), kind="regression"), "roc") is None


def test_reliability_panels_are_the_bins_of_calibration(made_up):
    cells = [made_up("spcl"), made_up("random", strength=0.1)]
    each = variants(cells, methods=())
    (found,) = reliability(each)
    assert [(p.encoder, p.method, p.label) for p in found.panels[:3]] == [
        ("random", "as given", x) for x in ("", "Nodule/Mass", "Effusion")
    ]
    (panel,) = [p for p in found.panels if (p.encoder, p.label) == ("spcl", "Effusion")]
    scores, targets, whose = pooled(each[0].tests, "spcl", ["Effusion"])
    bins = binned(scores, targets, whose)
    assert panel.observed == tuple(bins.observed)
    assert (panel.lower, panel.upper) == (tuple(bins.lower), tuple(bins.upper))
    assert sum(panel.counts) == 160
    assert {p.label for (one,) in [reliability(each, by_label=False)] for p in one.panels} == {""}
