"""Against pycocotools, run on physically repeated images."""

import contextlib
import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from cxrbench.data.manifest import Manifest
from cxrbench.metrics.classification import Weights
from cxrbench.metrics.detection import MAX_DETECTIONS, MEASURES, THRESHOLDS, match, score
from cxrbench.predictions import Predictions

LABELS = ("a", "b")


def coco_eval(images, copies, classes, thresholds):
    """COCOeval after evaluate and accumulate; image i stands there copies[i] times, one after the other."""
    entries = [image for image, count in zip(images, copies, strict=True) for _ in range(count)]
    truth, found = [], []
    for i, image in enumerate(entries):
        for box, label in zip(image.true_boxes, image.true_classes, strict=True):
            truth.append({"id": len(truth) + 1, "image_id": i, "category_id": int(label), "bbox": box,
                          "area": box[2] * box[3], "iscrowd": 0})  # fmt: skip
        found += [
            {"image_id": i, "category_id": int(label), "bbox": box, "score": s}
            for box, s, label in zip(image.boxes, image.scores, image.classes, strict=True)
        ]
    with contextlib.redirect_stdout(io.StringIO()):
        gt: Any = COCO()
        gt.dataset = {"images": [{"id": i} for i in range(len(entries))], "annotations": truth,
                      "categories": [{"id": c} for c in range(classes)]}  # fmt: skip
        gt.createIndex()
        dt = gt.loadRes(found) if found else COCO()
        peer = COCOeval(gt, dt, "bbox")
        peer.params.imgIds, peer.params.catIds = list(range(len(entries))), list(range(classes))
        peer.params.iouThrs, peer.params.maxDets = np.array(thresholds), [MAX_DETECTIONS]
        peer.params.areaRng, peer.params.areaRngLbl = [[0, 1e10]], ["all"]
        peer.evaluate()
        peer.accumulate()
    return peer


def coco_ap(images, copies, classes, thresholds):
    """AP per class averaged over thresholds; NaN where COCOeval says -1."""
    if not sum(copies):
        return np.full(classes, np.nan)
    precision = coco_eval(images, copies, classes, thresholds).eval["precision"][:, :, :, 0, 0]  # [T, R, K]
    return np.where((precision == -1).all((0, 1)), np.nan, precision.mean((0, 1)))


def scored(images, labels=LABELS):
    """What ``score`` makes of a list of images."""
    ids = [f"{i:04}" for i in range(len(images))]
    rows = pd.DataFrame({
        "image_id": ids, "patient_id": ids, "split": "test",
        "boxes": [np.array(image.boxes, float).ravel() for image in images],
        "scores": [np.array(image.scores, float) for image in images],
        "classes": [np.array(image.classes, int) for image in images],
    })  # fmt: skip
    boxes = [
        (name, labels[label], *box)
        for name, image in zip(ids, images, strict=True)
        for box, label in zip(image.true_boxes, image.true_classes, strict=True)
    ]
    table = pd.DataFrame({"image_id": ids, "patient_id": ids, "study_id": ids, "view": "", "split": "test",
                          "path": ids, "bytes": 1})  # fmt: skip
    manifest = Manifest("made up", None, table, (), boxes=pd.DataFrame(  # pyright: ignore[reportArgumentType]
        boxes, columns=["image_id", "label", "x", "y", "width", "height"]))  # fmt: skip
    return score(Predictions(rows, tuple(labels), "detection", {"macro": tuple(labels)}, True), manifest)


def prepared(predictions, name):
    return MEASURES[name].prepare(predictions.test_rows(), predictions.labels)


def random_image(rng, detections, truths, levels):
    """Detections near the true boxes or anywhere; scores of few levels are tied within and across images."""
    true_boxes = np.concatenate([rng.integers(0, 30, (truths, 2)), rng.integers(5, 20, (truths, 2))], 1).astype(float)
    boxes = np.concatenate([rng.integers(0, 30, (detections, 2)), rng.integers(5, 20, (detections, 2))], 1)
    if truths:
        near = true_boxes[rng.integers(truths, size=detections)] + rng.integers(-3, 4, (detections, 4))
        boxes = np.where(rng.random((detections, 1)) < 0.7, near, boxes)
    return SimpleNamespace(
        boxes=np.maximum(boxes, [-9, -9, 1, 1]).astype(float).tolist(),
        scores=np.sort(rng.integers(1, levels, detections) / levels)[::-1].tolist(),
        classes=rng.integers(len(LABELS), size=detections).tolist(),
        true_boxes=true_boxes.tolist(),
        true_classes=rng.integers(len(LABELS), size=truths).tolist(),
    )


@st.composite
def cases(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    levels = draw(st.sampled_from([3, 10, 10**6]))
    images = [
        random_image(rng, draw(st.integers(0, 8)), draw(st.integers(0, 3)), levels)
        for _ in range(draw(st.integers(1, 6)))
    ]
    return images, rng.integers(0, 5, (len(images), 3))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(case=cases(), name=st.sampled_from(list(MEASURES)))
def test_integer_weights_equal_pycocotools_on_repeated_images(case, name):
    images, counts = case
    thresholds = {"map_coco": THRESHOLDS[2:], "ap50": THRESHOLDS[2:3]}.get(name, THRESHOLDS[:8])
    taken = [name != "map_mgca" or bool(image.true_boxes and image.scores) for image in images]
    weights = np.concatenate([np.ones((len(images), 1), int), counts], 1)
    ours = prepared(scored(images), name)
    values = np.stack([ours[label](Weights.of(weights.astype(np.uint16))) for label in LABELS])
    theirs = np.stack([coco_ap(images, copies, len(LABELS), thresholds) for copies in (weights.T * taken)], 1)
    np.testing.assert_allclose(values, theirs, atol=1e-9, rtol=0)
    doubled = np.stack([ours[label](Weights.of(weights.astype(float))) for label in LABELS])
    np.testing.assert_allclose(doubled, theirs, atol=1e-9, rtol=0)


def test_recalls_that_meet_coco_s_points_exactly_are_counted_as_coco_does():
    """With 100 true boxes every recall is a multiple of 0.01, whose last bits decide."""
    rng = np.random.default_rng(1)
    images = [random_image(rng, 20, 2, 10**6) for _ in range(50)]
    for image in images:
        image.classes, image.true_classes = [0] * 20, [0] * 2
    weights = np.stack([np.ones(50, int), rng.permutation([0, 2] * 25)], 1)
    ours = prepared(scored(images), "map")["a"](Weights.of(weights))
    theirs = [coco_ap(images, copies, 1, THRESHOLDS[:8])[0] for copies in weights.T]
    np.testing.assert_allclose(ours, theirs, atol=1e-9, rtol=0)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32))
def test_matches_equal_pycocotools(seed):
    rng = np.random.default_rng(seed)
    image = random_image(rng, 12, 4, 5)
    image.classes, image.true_classes = [0] * 12, [0] * 4
    (peer,) = coco_eval([image], [1], 1, THRESHOLDS).evalImgs
    bits = match(np.array(image.boxes), np.array(image.true_boxes))
    ours = bits >> np.arange(len(THRESHOLDS))[:, None] & 1
    np.testing.assert_array_equal(ours, peer["dtMatches"] > 0)


def test_thresholds_are_the_papers_and_coco_s():
    np.testing.assert_allclose(THRESHOLDS[2:], np.linspace(0.5, 0.95, 10), atol=1e-12)
    assert [len(THRESHOLDS[:8]), THRESHOLDS[0], THRESHOLDS[7]] == [8, 0.40, 0.75]


def test_score_sorts_keeps_a_hundred_of_a_class_and_counts_boxes():
    many = MAX_DETECTIONS + 20
    image = SimpleNamespace(
        boxes=[[i, 0, 10, 10] for i in range(many)] + [[500, 0, 10, 10]],
        scores=[*np.arange(many) / many, 0.01], classes=[0] * many + [1],
        true_boxes=[[119, 0, 10, 10], [0, 0, 10, 10], [500, 0, 10, 10]], true_classes=[0, 0, 1],
    )  # fmt: skip
    empty = SimpleNamespace(boxes=[], scores=[], classes=[], true_boxes=[], true_classes=[])
    predictions = scored([image, empty])
    row = predictions.rows.iloc[0]
    assert len(row["scores"]) == MAX_DETECTIONS + 1
    assert (np.diff(row["scores"]) <= 0).all()
    assert (row["classes"] == 1).sum() == 1
    assert row["boxes"][:4].tolist() == [119, 0, 10, 10]
    all_thresholds = 2 ** len(THRESHOLDS) - 1
    assert row["matches"][0] == all_thresholds
    assert row["matches"][row["classes"] == 1].tolist() == [all_thresholds]
    assert predictions.rows[["target:a", "target:b"]].to_numpy().tolist() == [[2, 1], [0, 0]]
    assert scored([image, empty]).rows.equals(score_again(predictions).rows)


def score_again(predictions):
    """Scoring what was scored before changes nothing."""
    boxes = [
        (row.image_id, LABELS[c], *b)
        for row in predictions.rows.itertuples()
        for b, c in zip(row.true_boxes.reshape(-1, 4), row.true_classes, strict=True)
    ]
    table = pd.DataFrame(boxes, columns=["image_id", "label", "x", "y", "width", "height"])
    return score(predictions, SimpleNamespace(boxes=table))  # pyright: ignore[reportArgumentType]


def test_false_positives_on_images_without_boxes_count(tmp_path):
    right = SimpleNamespace(
        boxes=[[0, 0, 9, 9]], scores=[0.5], classes=[0], true_boxes=[[0, 0, 9, 9]], true_classes=[0]
    )
    wrong = SimpleNamespace(boxes=[[0, 0, 9, 9]], scores=[0.9], classes=[0], true_boxes=[], true_classes=[])
    predictions = scored([right, wrong])
    predictions.save(tmp_path / "p.parquet")
    ap = prepared(Predictions.load(tmp_path / "p.parquet"), "map")["a"]
    weights = Weights.of(np.array([[1, 1, 0, 3], [0, 1, 1, 1]]))
    np.testing.assert_allclose(ap(weights), [1, 0.5, np.nan, 0.75])


def test_a_label_without_true_boxes_is_undefined_and_one_without_detections_is_zero():
    image = SimpleNamespace(
        boxes=[[0, 0, 9, 9]], scores=[0.5], classes=[0], true_boxes=[[0, 0, 9, 9]], true_classes=[1]
    )
    for name in MEASURES:
        ours = prepared(scored([image]), name)
        weights = Weights.of(np.ones((1, 2)))
        assert np.isnan(ours["a"](weights)).all()
        assert ours["b"](weights) == pytest.approx([0, 0])
