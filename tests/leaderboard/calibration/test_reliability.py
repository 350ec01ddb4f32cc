from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve

from cxrbench.leaderboard.calibration.bins import binned, pooled
from cxrbench.leaderboard.calibration.reliability import draw, picture
from cxrbench.leaderboard.calibration.variants import variants


def test_points_are_those_of_scikit_learns_calibration_curve_and_bars_scipys_wilson_intervals():
    rng = np.random.default_rng(0)
    scores = rng.random(600)
    targets = (rng.random(600) < scores**2).astype(float)
    bins = binned(scores, targets, np.arange(600).astype(str))
    observed, said = calibration_curve(targets, scores, n_bins=15, strategy="quantile")
    np.testing.assert_allclose(bins.said, said)
    np.testing.assert_allclose(bins.observed, observed)
    for share, lower, upper in zip(bins.observed, bins.lower, bins.upper, strict=True):
        limits = binomtest(round(share * 40), 40).proportion_ci(method="wilson")
        assert (lower, upper) == pytest.approx(limits, abs=1e-12)


def test_bars_count_patients_not_images():
    scores, targets = np.linspace(0, 1, 60), np.tile([0.0, 1, 1, 1], 15)
    alone = binned(scores, targets, np.arange(60).astype(str))
    together = binned(scores, targets, (np.arange(60) // 2).astype(str))
    np.testing.assert_array_equal(alone.observed, together.observed)
    assert (together.upper - together.lower > alone.upper - alone.lower).all()


def test_pooling_takes_known_targets_of_all_labels_and_seeds(made_up):
    cells = [made_up("spcl", seed=seed) for seed in (0, 1)]
    for one in cells:
        one.rows.loc[one.rows["image_id"] == "i0007", "target:Effusion"] = np.nan
    (each,) = variants(cells)
    scores, targets, whose = pooled(each.tests, "spcl", each.tests.labels)
    assert len(scores) == len(targets) == len(whose) == 2 * (2 * 160 - 1)
    assert len(set(whose)) == 2 * 80  # Two labels of 80 patients.


def test_all_panels_share_their_axes_and_synthetic_pictures_are_stamped(made_up):
    (each,) = variants([made_up("spcl", synthetic=True), made_up("pixels", strength=3.0, synthetic=True)])
    figure = picture(each, ["Effusion"], ["spcl", "pixels"])
    curves = [axes for axes in figure.axes if axes.get_ylabel() != "count" and axes.get_title()]
    assert len(curves) == 2 * 3
    assert len({(*axes.get_xlim(), *axes.get_ylim()) for axes in curves}) == 1
    assert "SYNTHETIC DATA" in figure.get_suptitle()
    (real,) = variants([made_up("spcl")])
    assert "SYNTHETIC" not in picture(real, ["Effusion"], ["spcl"]).get_suptitle()


def test_many_encoders_go_into_several_files_and_a_label_of_one_class_into_none(made_up, tmp_path, monkeypatch):
    monkeypatch.setattr("cxrbench.leaderboard.calibration.reliability.COLUMNS", 2)
    cells = [made_up(f"encoder{i}", synthetic=True) for i in range(3)]
    for one in cells:
        one.rows["target:Effusion"] = 0.0
    written = draw(variants(cells, methods=()), tmp_path)
    assert [path.name for path in written if "Nodule" not in path.name] == [
        "synthetic-vindr-classification-1.png",
        "synthetic-vindr-classification-2.png",
    ]
    assert not any("Effusion" in path.name for path in written)
    assert draw(variants([replace(cells[0], rows=cells[0].rows.assign(**{"target:Nodule/Mass": 1.0}))]), tmp_path) == []
