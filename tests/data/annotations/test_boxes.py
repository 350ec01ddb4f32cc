"""Checks of boxes, and the fusion of several readers' boxes against the authors' package."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrbench.data.annotations.boxes import check_areas, check_inside, fuse_readers, weighted_box_fusion
from cxrbench.errors import UserError


def table(*rows: tuple[object, ...]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["image_id", "label", "x", "y", "width", "height"])


@settings(max_examples=80, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 12), threshold=st.sampled_from([0.2, 0.4, 0.55]))
def test_fusion_equals_the_package_of_its_authors(seed: int, count: int, threshold: float) -> None:
    package = pytest.importorskip("ensemble_boxes", reason="ensemble-boxes is not installed")
    rng = np.random.default_rng(seed)
    first = rng.uniform(0, 0.4, (count, 2))
    corners = np.concatenate([first, first + rng.uniform(0.2, 0.6, (count, 2))], 1)
    scores = rng.permutation(np.linspace(0.1, 1, count))
    theirs, *_ = package.weighted_boxes_fusion([corners], [scores], [np.zeros(count)], iou_thr=threshold)
    ours = weighted_box_fusion(corners, scores, threshold)
    assert len(ours) == len(theirs)
    order = [np.lexsort(np.round(boxes, 4).T) for boxes in (ours, theirs)]
    np.testing.assert_allclose(ours[order[0]], theirs[order[1]], atol=1e-6)  # the package averages in float32


FROZEN = [  # corners, scores, and what ensemble-boxes 1.0.9 (weighted_boxes_fusion, iou_thr=0.4) made of them
    (
        [[0.08, 0.12, 0.41, 0.5], [0.29, 0.22, 0.71, 0.71], [0.08, 0.18, 0.37, 0.57], [0.19, 0.1, 0.6, 0.39],
         [0.27, 0.08, 0.47, 0.57], [0.17, 0.21, 0.46, 0.5]],
        [0.167, 0.833, 0.5, 0.667, 0.333, 1.0],
        [[0.13399, 0.19199, 0.428, 0.521], [0.19, 0.1, 0.6, 0.39], [0.27, 0.08, 0.47, 0.57], [0.29, 0.22, 0.71, 0.71]],
    ),
    (
        [[0.15, 0.35, 0.53, 0.74], [0.15, 0.29, 0.62, 0.54], [0.31, 0.17, 0.62, 0.46], [0.18, 0.16, 0.39, 0.41],
         [0.08, 0.19, 0.4, 0.51], [0.12, 0.13, 0.51, 0.47], [0.11, 0.11, 0.49, 0.38], [0.29, 0.18, 0.53, 0.48],
         [0.13, 0.23, 0.36, 0.54]],
        [0.778, 0.889, 0.222, 0.556, 0.111, 0.333, 0.667, 0.444, 1.0],
        [[0.125, 0.226, 0.364, 0.537], [0.13715, 0.13215, 0.45855, 0.40998], [0.15, 0.29, 0.62, 0.54],
         [0.15, 0.35, 0.53, 0.74], [0.29667, 0.17667, 0.56, 0.47333]],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("corners", "scores", "fused"), FROZEN)
def test_fusion_equals_what_the_package_of_its_authors_gave(corners: Any, scores: Any, fused: Any) -> None:
    ours = weighted_box_fusion(np.array(corners), np.array(scores), 0.4)
    np.testing.assert_allclose(sorted(ours.round(5).tolist()), fused, atol=1.5e-5)


def readings(seed: int) -> np.ndarray:
    """Boxes of three to seven readers of one finding or two that overlap, whole pixels."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(3, 8))
    first = np.rint(rng.uniform(100, 300, (1, 2)) + rng.normal(0, 25, (count, 2)))
    return np.concatenate([first, first + np.rint(rng.uniform(60, 140, (count, 2)))], 1)


@pytest.mark.parametrize("seed", range(20))
def test_what_readers_drew_is_fused_alike_in_every_order_of_rows(seed: int) -> None:
    corners = readings(seed)
    fused = weighted_box_fusion(corners, np.ones(len(corners)), 0.4)
    for again in range(6):
        order = np.random.default_rng(again).permutation(len(corners))
        np.testing.assert_array_equal(weighted_box_fusion(corners[order], np.ones(len(corners)), 0.4), fused)


def test_fusion_does_not_prefer_a_side() -> None:
    for seed in range(20):
        corners = readings(seed)
        mirrored = np.stack([900 - corners[:, 2], corners[:, 1], 900 - corners[:, 0], corners[:, 3]], 1)
        fused, other = (weighted_box_fusion(c, np.ones(len(c)), 0.4) for c in (corners, mirrored))
        np.testing.assert_allclose(sorted(900 - other[:, 2]), sorted(fused[:, 0]), atol=1e-9)


def test_readers_who_agree_give_one_box_and_those_who_do_not_give_theirs() -> None:
    boxes = table(
        ("a", "Nodule", 10, 10, 10, 10), ("a", "Nodule", 12, 10, 10, 10), ("a", "Nodule", 11, 13, 10, 10),
        ("a", "Nodule", 60, 60, 5, 5), ("a", "Mass", 10, 10, 10, 10), ("b", "Nodule", 10, 10, 10, 10),
    )  # fmt: skip
    fused = fuse_readers(boxes)
    assert sorted(map(tuple, fused.to_numpy().tolist())) == [
        ("a", "Mass", 10, 10, 10, 10), ("a", "Nodule", 11, 11, 10, 10), ("a", "Nodule", 60, 60, 5, 5),
        ("b", "Nodule", 10, 10, 10, 10),
    ]  # fmt: skip
    assert list(fuse_readers(table()).columns) == list(boxes.columns)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (("a", "Nodule", 1, 2, 0, 4), r"box \(x 1, y 2, width 0, height 4\) of Nodule of image a has no area"),
        (("a", "Nodule", 1, 2, 3, -4), "has no area"),
        (("a", "Nodule", np.nan, 2, 3, 4), "has no area"),
        (("a", "Nodule", -3, 2, 9, 4), "begins outside of the image"),
    ],
)
def test_bad_boxes_have_one_line(bad: tuple[object, ...], message: str) -> None:
    good = ("b", "Nodule", 0, 0, 5, 5)
    check_areas(table(good), "boxes.csv")
    with pytest.raises(UserError, match=r"^boxes.csv: .*" + message) as error:
        check_areas(table(good, bad, bad), "boxes.csv")
    assert "1 more like it" in str(error.value)
    assert "\n" not in str(error.value)


def test_boxes_in_fractions_of_the_image_are_refused() -> None:
    check_areas(table(("a", "Nodule", 0, 0, 1, 1), ("b", "Nodule", 0, 0, 2, 2)), "boxes.csv")
    with pytest.raises(UserError, match=r"boxes.csv: all 2 boxes lie within 0\.\.1, as fractions"):
        check_areas(table(("a", "Nodule", 0.2, 0.25, 0.2, 0.25), ("b", "Nodule", 0.5, 0.5, 0.5, 0.5)), "boxes.csv")


def test_boxes_end_within_their_image() -> None:
    boxes = table(("a", "Nodule", 10, 10, 20, 30), ("b", "Nodule", 0, 0, 10, 10))
    check_inside(boxes, {"a": (40, 30), "b": (10, 10)}, "here")
    with pytest.raises(UserError, match=r"here: box .* of image a ends outside of the image, which has 30 x 38 pixels"):
        check_inside(boxes, {"a": (38, 30), "b": (10, 10)}, "here")
