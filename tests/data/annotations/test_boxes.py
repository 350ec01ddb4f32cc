"""Checks of boxes, and the fusion of several readers' boxes against the authors' package."""

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


def test_boxes_end_within_their_image() -> None:
    boxes = table(("a", "Nodule", 10, 10, 20, 30), ("b", "Nodule", 0, 0, 10, 10))
    check_inside(boxes, {"a": (40, 30), "b": (10, 10)}, "here")
    with pytest.raises(UserError, match=r"here: box .* of image a ends outside of the image, which has 30 x 38 pixels"):
        check_inside(boxes, {"a": (38, 30), "b": (10, 10)}, "here")
