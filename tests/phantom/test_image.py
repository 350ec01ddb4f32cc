"""One phantom image: findings, masks, boxes and labels out of one geometry; nuisances from another stream."""

import numpy as np
import pytest
from scipy.stats import chi2_contingency

from cxrbench.phantom.anatomy import CARDIOMEGALY_RATIO, ENLARGED_KNOB, Pose, Thorax
from cxrbench.phantom.findings import AORTA, CARDIOMEGALY, FINDINGS, PNEUMOTHORAX
from cxrbench.phantom.image import render
from cxrbench.phantom.sheet import contact_sheet


@pytest.mark.parametrize("name", FINDINGS)
@pytest.mark.parametrize("grade", [0.0, 0.5, 1.0])
def test_label_mask_and_box_come_together(name: str, grade: float) -> None:
    for seed in range(5):
        image = render(seed, {name: grade}, shape=(248, 270))
        found = [f for f in image.findings if f.name == name]
        assert found
        assert {f.name for f in image.findings} == {name}
        for f in found:
            x, y, w, h = f.box
            assert f.mask.shape == image.image.shape
            inside = np.zeros_like(f.mask)
            inside[y : y + h, x : x + w] = True
            assert not (f.mask & ~inside).any()
            assert f.mask[y].any()
            assert f.mask[y + h - 1].any()
            assert f.mask[:, x].any()
            assert f.mask[:, x + w - 1].any()


def test_an_image_without_grades_has_no_finding() -> None:
    for seed in range(20):
        image = render(seed)
        assert image.findings == ()
        assert image.anatomy.heart_ratio < CARDIOMEGALY_RATIO
        assert image.anatomy.knob < ENLARGED_KNOB
        assert image.image.dtype == np.float32
        assert image.image.min() >= 0
        assert image.image.max() <= 1


@pytest.mark.parametrize("name", [n for n in FINDINGS if n not in (CARDIOMEGALY, AORTA)])
def test_a_finding_changes_the_image_where_its_mask_is(name: str) -> None:
    """Same seed, with and without: the change is several times larger inside the mask than far away from it.

    So is the change of the mean: companion signs are textures without one. Streaks of air beside a pneumothorax change
    as many pixels outside as the free air inside, so there it is the mean alone.
    """
    ratios, of_means = [], []
    for seed in range(6):
        image, plain = render(seed, {name: 0.8}), render(seed)
        change = image.image - plain.image
        mask = np.any([f.mask for f in image.findings], axis=0)
        ratios.append(np.abs(change[mask]).mean() / (np.abs(change[~mask]).mean() + 1e-6))
        of_means.append(abs(change[mask].mean()) / (abs(change[~mask].mean()) + 1e-6))
    assert np.median(of_means) > 3
    assert name == PNEUMOTHORAX or np.median(ratios) > 3


def test_a_higher_grade_shows_more() -> None:
    for name in FINDINGS:
        change = []
        for grade in (0.1, 0.5, 0.9):
            pairs = [
                (render(seed, {name: grade}, shape=(96, 96)).image, render(seed, shape=(96, 96)).image)
                for seed in range(5)
            ]
            change.append(np.mean([np.abs(a - b).mean() for a, b in pairs]))
        assert change[0] < change[1] < change[2], name


def test_the_heart_on_the_image_has_the_ratio_of_its_label() -> None:
    """Measured as radiologists do, widest heart over widest rib cage, on the mask of an upright image."""
    for seed in range(8):
        anatomy = render(seed, {CARDIOMEGALY: 0.7}).anatomy
        thorax = Thorax(anatomy, Pose(512, 512, 0.0, 1.0, 0.0, 0.0))
        columns = np.flatnonzero(thorax.heart.any(0))
        ratio = (columns[-1] - columns[0] + 1) / thorax.pose.unit / (2 * thorax.half_width)
        assert abs(ratio - anatomy.heart_ratio) < 0.03


def test_heart_points_to_the_patients_left_and_air_is_darker() -> None:
    image = render(1, {PNEUMOTHORAX: 1.0})
    heart = Thorax(image.anatomy, Pose(256, 256, 0.0, 1.0, 0.0, 0.0)).heart
    columns = np.flatnonzero(heart.any(0))
    assert columns[-1] - 128 > 128 - columns[0]
    mask = image.findings[0].mask
    assert image.image[mask].mean() < render(1).image[mask].mean()


def test_view_and_exposure_are_independent_of_findings() -> None:
    """The same seeds with and without a finding have the same view; over seeds, the view is unrelated to the label."""
    table = np.zeros((2, 2))
    corner = []
    for seed in range(120):
        image = render((seed, 5), {PNEUMOTHORAX: 0.5} if seed % 2 else {}, shape=(64, 64))
        plain = render((seed, 5), shape=(64, 64))
        assert image.view == plain.view
        corner.append(np.abs(image.image[:6, :6] - plain.image[:6, :6]).max())  # a shoulder: the apex is in view
        table[seed % 2, int(image.view == "AP")] += 1
    assert np.asarray(chi2_contingency(table)[1]) > 0.01
    assert np.median(corner) == 0.0, "the image outside the chest is untouched"


def test_contact_sheet_shows_every_finding() -> None:
    sheet = contact_sheet(size=48)
    assert sheet.size == (6 * 48, (1 + len(FINDINGS)) * 48)
    tinted = np.asarray(sheet).astype(int)
    coloured = (tinted[..., 0] - tinted[..., 2] > 40).reshape(1 + len(FINDINGS), 48, -1)
    assert (coloured[1:].sum((1, 2)) > 10).all()
