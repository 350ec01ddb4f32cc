"""Segmentation metrics: equal to torchmetrics, weights equal to duplication, empty masks by an explicit convention."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import f1_score, jaccard_score
from torchmetrics.functional.classification import binary_jaccard_index, binary_stat_scores
from torchmetrics.functional.segmentation import dice_score

from cxrbench.data.annotations.rle import encode_counts
from cxrbench.data.manifest import Manifest
from cxrbench.errors import UserError
from cxrbench.metrics.classification import Weights
from cxrbench.metrics.kinds import KINDS
from cxrbench.metrics.segmentation import MEASURES, score
from cxrbench.predictions import Predictions
from support.masks import compressed

Masks = NDArray[np.bool_]


def drawings(n: int = 40, side: int = 9, seed: int = 0) -> tuple[Masks, Masks]:
    """Predicted and true masks [n, side, side]; some of either are empty."""
    rng = np.random.default_rng(seed)
    predicted = rng.random((n, side, side)) < rng.choice([0, 0.1, 0.5], n)[:, None, None]
    true = rng.random((n, side, side)) < rng.choice([0, 0.2, 0.5], n)[:, None, None]
    return predicted, true | (predicted & (rng.random((n, 1, 1)) < 0.4))


def counted(predicted: Masks, true: Masks, label: str = "x") -> pd.DataFrame:
    sums = {"intersection": predicted & true, "predicted": predicted, "target": true}
    return pd.DataFrame({f"{name}:{label}": m.sum((1, 2)).astype(float) for name, m in sums.items()})


def value(name: str, rows: pd.DataFrame, weights: np.ndarray | None = None) -> np.ndarray:
    weights = np.ones((len(rows), 1), int) if weights is None else weights
    return MEASURES[name].prepare(rows, ["x"])["x"](Weights.of(weights))


def test_dice_and_iou_equal_torchmetrics_where_there_is_something_to_find() -> None:
    predicted, true = drawings()
    rows, positive = counted(predicted, true), true.any((1, 2))
    p, t = (torch.from_numpy(masks[positive]).long() for masks in (predicted, true))
    pairs = list(zip(p, t, strict=True))
    stats = np.array([binary_stat_scores(a, b).tolist() for a, b in pairs], float)
    tp, fp, fn = stats[:, 0], stats[:, 1], stats[:, 3]
    assert value("dice_positives", rows)[0] == pytest.approx((2 * tp / (2 * tp + fp + fn)).mean(), abs=1e-12)
    assert value("iou_positives", rows)[0] == pytest.approx((tp / (tp + fp + fn)).mean(), abs=1e-12)
    # its own quotients are float32
    dices = [dice_score(a[None, None], b[None, None], 1, input_format="one-hot").item() for a, b in pairs]
    assert value("dice_positives", rows)[0] == pytest.approx(np.mean(dices), abs=1e-7)
    ious = [binary_jaccard_index(a, b).item() for a, b in pairs]
    assert value("iou_positives", rows)[0] == pytest.approx(np.mean(ious), abs=1e-7)


def test_dice_and_iou_equal_scikit_learn_to_the_last_digits() -> None:
    """In double precision, weighted by whole numbers too: an image three times is three images."""
    predicted, true = drawings()
    positive = true.any((1, 2))
    rows, weights = counted(predicted, true), np.random.default_rng(3).integers(0, 4, len(true))
    flat = [(t.ravel(), p.ravel()) for t, p in zip(true[positive], predicted[positive], strict=True)]
    for name, reference in (("dice_positives", f1_score), ("iou_positives", jaccard_score)):
        each = np.array([reference(t, p) for t, p in flat])
        assert value(name, rows)[0] == pytest.approx(each.mean(), abs=1e-9)
        repeated = np.repeat(each, weights[positive]).mean()
        assert value(name, rows, weights[:, None])[0] == pytest.approx(repeated, abs=1e-9)


def test_an_image_without_true_pixels_counts_one_if_none_is_predicted_else_zero() -> None:
    predicted, true = np.zeros((3, 4, 4), bool), np.zeros((3, 4, 4), bool)
    predicted[1, 0, 0] = predicted[2, :2] = true[2, 1:3] = True
    rows = counted(predicted, true)
    assert value("dice", rows)[0] == pytest.approx((1 + 0 + 0.5) / 3)
    assert value("iou", rows)[0] == pytest.approx((1 + 0 + 1 / 3) / 3)
    assert value("dice_positives", rows)[0] == pytest.approx(0.5)
    assert np.isnan(value("iou_positives", rows.iloc[:2])).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(sorted(MEASURES)))
def test_integer_weights_are_duplicates(seed: int, name: str) -> None:
    rows = counted(*drawings(12, 5, seed))
    rows.loc[0, "target:x"] = np.nan
    weights = np.random.default_rng(seed).integers(0, 4, (12, 3))
    for b, got in enumerate(value(name, rows, weights)):
        repeated = rows.iloc[np.repeat(np.arange(len(rows)), weights[:, b])]
        expected = value(name, repeated) if len(repeated) else [np.nan]
        np.testing.assert_allclose(got, expected[0], rtol=0, atol=1e-12)


def test_unknown_truth_counts_for_nothing() -> None:
    rows = counted(*drawings())
    gone = rows.copy()
    gone.loc[:9, ["intersection:x", "target:x"]] = np.nan
    for name in MEASURES:
        np.testing.assert_allclose(value(name, gone), value(name, rows.iloc[10:]), atol=1e-12)


def predictions_of(predicted: Masks, ids: list[str]) -> Predictions:
    rles = [compressed(m) for m in predicted]
    rows = pd.DataFrame({"image_id": ids, "patient_id": ids, "split": "test", "height": predicted.shape[1],
                         "width": predicted.shape[2], "rle:Finding": rles})  # fmt: skip
    return Predictions(rows, ("Finding",), "segmentation", {"macro": ("Finding",)}, False)


def manifest_of(ids: list[str], masks: pd.DataFrame, root: Path = Path(), complete: bool = True) -> Manifest:
    images = pd.DataFrame({"image_id": ids, "patient_id": ids, "study_id": ids, "view": "", "split": "test",
                           "path": ids, "bytes": 1})  # fmt: skip
    return Manifest("toy", root, images, (), masks=masks, masks_complete=complete)


def test_scores_are_counted_from_the_true_masks() -> None:
    predicted, true = drawings(12, 7)
    ids = [f"{n:02d}" for n in range(12)]
    positive = np.array([mask.any() for mask in true])
    masks = pd.DataFrame(
        [(n, "Finding", 7, 7, encode_counts(m)) for n, m, yes in zip(ids, true, positive, strict=True) if yes],
        columns=["image_id", "label", "height", "width", "counts"],
    )
    scored = score(predictions_of(predicted, ids), manifest_of(ids, masks)).rows
    expected = counted(predicted, true, "Finding")
    pd.testing.assert_frame_equal(scored.filter(list(expected)), expected)
    unknown = score(predictions_of(predicted, ids), manifest_of(ids, masks, complete=False)).rows["target:Finding"]
    np.testing.assert_array_equal(unknown.isna(), ~positive)
    assert "segmentation" in KINDS
    with pytest.raises(UserError, match="has 7 x 7 pixels, the image 6 x 7"):
        score(predictions_of(predicted[:, :, :6], ids), manifest_of(ids, masks))


def test_ignored_pixels_are_in_no_count(tmp_path: Path) -> None:
    from PIL import Image

    predicted, true = drawings(4, 8)
    ignored = np.random.default_rng(5).random(true.shape) < 0.3
    ids = list("abcd")
    for name, m, i in zip(ids, true, ignored, strict=True):
        Image.fromarray(np.where(i, 127, m * 255).astype(np.uint8)).save(tmp_path / f"{name}.png")
    masks = pd.DataFrame({"image_id": ids, "label": "Finding", "path": [f"{n}.png" for n in ids], "value": np.nan,
                          "ignore": 127.0})  # fmt: skip
    scored = score(predictions_of(predicted, ids), manifest_of(ids, masks, tmp_path)).rows
    expected = counted(predicted & ~ignored, true & ~ignored, "Finding")
    pd.testing.assert_frame_equal(scored.filter(list(expected)), expected)
