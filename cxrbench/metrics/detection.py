"""Detection: matching boxes once, then average precision at many weightings at once.

Matching does not depend on weights, so ``score`` does it once per image and keeps, for every detection, a bit for each
IoU threshold. Average precision is COCO's (Lin et al. 2014; pycocotools ``COCOeval``, all areas, 100 detections per
image and class) of these bits: integer weights give what ``COCOeval`` gives on the physically repeated images.

Tie order: equal scores are taken in the order of the images, within an image in the order of its detections. An image
repeated w times stands there w times in a row, so two detections of equal score in one image alternate: first,
second, first, second. That is ``COCOeval`` with the copies of an image numbered one after the other.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from cxrbench.data.manifest import Manifest
from cxrbench.metrics.classification import Array, Prepared, Sums, Weights, never_defined, ratio
from cxrbench.metrics.measure import Measure
from cxrbench.metrics.prepared import running
from cxrbench.metrics.ranking import RowSums
from cxrbench.predictions import Predictions

THRESHOLDS = tuple(round(0.40 + 0.05 * t, 2) for t in range(12))
"""IoU thresholds; bit t of a detection's ``matches`` belongs to the t-th."""
MAX_DETECTIONS = 100
RECALLS = np.linspace(0.0, 1.0, 101)

Boxes = NDArray[np.float64]
Bits = NDArray[np.int32]
Prepare = Callable[[pd.DataFrame, Sequence[str]], dict[str, Prepared]]


def score(predictions: Predictions, manifest: Manifest) -> Predictions:
    """Put true boxes, their number per label, and the matches beside finished detections.

    Detections are sorted by score (stable), and per image and class the best 100 are kept.
    """
    truth = _truth(manifest, predictions.labels)
    nothing = (np.empty((0, 4)), np.empty(0, np.int32))
    columns: dict[str, list[NDArray[np.generic]]] = {
        name: [] for name in ("boxes", "scores", "classes", "matches", "true_boxes", "true_classes")
    }
    given = (predictions.rows[name].tolist() for name in ("image_id", "boxes", "scores", "classes"))
    for image_id, *detected in zip(*given, strict=True):
        boxes, scores, classes = (np.asarray(values) for values in detected)
        boxes = boxes.reshape(-1, 4)
        kept = _best(scores, classes)
        boxes, scores, classes = boxes[kept], scores[kept], classes[kept].astype(np.int32)
        true_boxes, true_classes = truth.get(str(image_id), nothing)
        matches = np.zeros(len(boxes), np.int32)
        for label in np.intersect1d(classes, true_classes):
            mine = classes == label
            matches[mine] = match(boxes[mine].astype(np.float64), true_boxes[true_classes == label])
        values = (boxes.ravel(), scores, classes, matches, true_boxes.ravel(), true_classes)
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
    rows = predictions.rows.assign(**{name: pd.Series(c, predictions.rows.index) for name, c in columns.items()})
    for index, label in enumerate(predictions.labels):
        rows[f"target:{label}"] = [float((classes == index).sum()) for classes in columns["true_classes"]]
    return replace(predictions, rows=rows)


def match(boxes: Boxes, truth: Boxes) -> Bits:
    """Greedy matching of one image's detections of one class, best first, with its true boxes; as ``COCOeval``.

    boxes: [D, 4], truth: [G, 4], both x, y, width, height. At each threshold a detection takes the free true box of
    highest IoU (the last of equals), if that reaches the threshold. Returns [D]: bit t for a hit at ``THRESHOLDS[t]``.
    """
    bits = np.zeros(len(boxes), np.int32)
    if not len(boxes) or not len(truth):
        return bits
    overlaps = np.asarray(coco_mask.iou(boxes.tolist(), truth.tolist(), [0] * len(truth)))
    least = np.minimum(THRESHOLDS, 1 - 1e-10)
    free = np.ones((len(least), len(truth)), bool)
    for detection in np.flatnonzero(overlaps.max(1) >= least[0]):
        candidates = np.where(free, overlaps[detection], -1.0)[:, ::-1]  # reversed: argmax finds the last of equals
        best = len(truth) - 1 - candidates.argmax(1)
        hit = candidates.max(1) >= least
        free[hit, best[hit]] = False
        bits[detection] = int(hit @ (1 << np.arange(len(least))))
    return bits


def mean_average_precision(thresholds: Sequence[float]) -> Prepare:
    """AP of each label, averaged over IoU ``thresholds``; as the metric of a table of scored detections."""
    wanted = [THRESHOLDS.index(t) for t in thresholds]

    def prepare(rows: pd.DataFrame, labels: Sequence[str]) -> dict[str, Prepared]:
        per_image = rows["scores"].map(len).to_numpy(np.int64)
        image = np.repeat(np.arange(len(rows)), per_image)
        scores, classes, matches = (
            np.concatenate([np.empty(0), *rows[name]]) for name in ("scores", "classes", "matches")
        )
        prepared = {}
        for index, label in enumerate(labels):
            mine = classes == index
            if np.isnan(scores[mine]).any():
                prepared[label] = never_defined
                continue
            detections = Detections.of(image[mine], scores[mine], matches[mine].astype(np.int32))
            prepared[label] = average_precision(detections, rows[f"target:{label}"].to_numpy(np.float64), wanted)
        return prepared

    return prepare


def of_images_with_hits_to_be_had(prepare: Prepare) -> Prepare:
    """The same of the images alone that have a true box (of any label) and a detection, as MGCA's code takes it.

    HKU-MedAI/MGCA, ``mgca/models/ssl_detector.py``: other images are skipped before its mAP is updated, so that false
    positives on healthy images cost nothing, nor do boxes of an image in which nothing was found.
    """

    def prepare_some(rows: pd.DataFrame, labels: Sequence[str]) -> dict[str, Prepared]:
        targets = [f"target:{label}" for label in labels]
        left = (rows[targets].to_numpy(np.float64).sum(1) > 0) & (rows["scores"].map(len).to_numpy() > 0)
        lists = {
            name: pd.Series([v if one else v[:0] for v, one in zip(rows[name], left, strict=True)], rows.index)
            for name in ("scores", "classes", "matches")
        }
        return prepare(rows.assign(**lists, **{name: rows[name].where(left, 0.0) for name in targets}), labels)

    return prepare_some


MEASURES: Mapping[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure("map", "mAP .40-.75", mean_average_precision(THRESHOLDS[:8]), ranks=True),
        Measure("map_coco", "mAP .50-.95", mean_average_precision(THRESHOLDS[2:]), ranks=True),
        Measure("ap50", "AP50", mean_average_precision(THRESHOLDS[2:3]), ranks=True),
        Measure(
            "map_mgca", "MGCA's mAP", of_images_with_hits_to_be_had(mean_average_precision(THRESHOLDS[:8])), ranks=True
        ),
    )
}
"""The first has the IoUs of MGCA, S-PCL and FaNe, 0.40:0.05:0.75, over all images; the last is MGCA's code's."""


@dataclass(frozen=True)
class Detections:
    """Detections of one label over all images, in the order in which ``COCOeval`` takes them: equal scores of several
    images in the order of the rows, so another order of the rows may give another AP where scores are equal.

    ``image``: row number of each one's image; ``bits``: its matches. ``twin``: whether another one of its image has
    the same score; ``scores`` are needed only to put the copies of twins in order.
    """

    image: NDArray[np.int64]
    scores: Array
    bits: Bits
    twin: NDArray[np.bool_]

    @staticmethod
    def of(image: NDArray[np.int64], scores: Array, bits: Bits) -> "Detections":
        """From detections listed image by image, each image's best first."""
        order = np.lexsort((image, -scores))
        image, scores = image[order], scores[order]
        same = (image[1:] == image[:-1]) & (scores[1:] == scores[:-1])
        return Detections(image, scores, bits[order], np.append(same, False) | np.append(False, same))

    def repeated(self, sums: Sums) -> tuple["Detections", Sums]:
        """Twins written out once per copy of their image, and the weights [n + copies, B] of images and copies.

        The j-th copy has the weight min(1, max(0, w - j)): 1 as long as the image is there more than j times.
        """
        images, place = np.unique(self.image[self.twin], return_inverse=True)
        copies = int(np.ceil(sums.max())) if len(images) else 0
        each = [np.clip(sums[images] - j, 0, 1, dtype=sums.dtype) for j in range(copies)]
        twins, others = np.flatnonzero(self.twin), np.flatnonzero(~self.twin)
        copy = np.repeat(np.arange(copies), len(twins))
        source = np.concatenate([others, np.tile(twins, copies)])
        row = np.concatenate([self.image[others], len(sums) + copy * len(images) + np.tile(place, copies)])
        copy = np.concatenate([np.zeros(len(others), np.int64), copy])
        order = np.lexsort((source, copy, self.image[source], -self.scores[source]))
        source = source[order]
        written_out = Detections(row[order], self.scores[source], self.bits[source], self.twin[source])
        return written_out, np.concatenate([sums, *each])


def average_precision(detections: Detections, truth: Array, thresholds: Sequence[int]) -> Prepared:
    """AP at the ``thresholds`` (bits), averaged; COCO's: precision interpolated at recalls 0, 0.01, ..., 1.

    truth: [n] true boxes per image. NaN where no true box has weight; 0 where there are no hits. Between two hits
    precision only falls and recall stands still, so only hits are looked at: with h their running weight, s that of all
    detections so far and G that of the true boxes, p = max over later hits of h / s counts for the recalls in
    (previous h / G, h / G], the first one also for recall 0.
    """
    mask = sum(1 << t for t in thresholds)
    once = _Hits.of(detections, mask)
    has_twins = bool(detections.twin.any())

    def of_weights(weights: Weights) -> Array:
        total = truth @ weights.double
        exact = weights.sums.dtype == np.float64 or len(detections.image) * weights.sums.max() < 2**24
        sums = weights.sums if exact else weights.double
        hits, sums = (_of_repeated(detections, sums, mask)) if has_twins else (once, sums)
        seen = running(hits.since(len(sums))(sums).astype(np.float64))
        own = sums[hits.images].astype(np.float64)
        areas = np.zeros_like(total)
        for t in thresholds:
            at = np.flatnonzero(hits.bits >> t & 1)
            found = running(own[at])
            precision = ratio(found, seen[at], undefined=0.0)
            best = np.maximum.accumulate(precision[::-1])[::-1]
            reached = np.searchsorted(RECALLS, ratio(found, total), side="right")
            areas += np.einsum("kb,kb->b", np.diff(reached, axis=0, prepend=0), best)
        return np.where(total > 0, areas / (len(RECALLS) * len(thresholds)), np.nan)

    return of_weights


@dataclass(frozen=True)
class _Hits:
    """Detections that are a hit at some threshold (``images``, ``bits``), and the images of all detections ``before``.

    The ``ends[k]`` first of these end with the k-th hit itself.
    """

    images: NDArray[np.int64]
    bits: Bits
    before: NDArray[np.int64]
    ends: NDArray[np.int64]

    @staticmethod
    def of(detections: Detections, mask: int) -> "_Hits":
        at = np.flatnonzero(detections.bits & mask)
        last = at[-1] + 1 if len(at) else 0
        return _Hits(detections.image[at], detections.bits[at], detections.image[:last], at + 1)

    def since(self, n: int) -> RowSums:
        """Sums over the detections since the hit before, of weights [n, B]: one for each hit."""
        starts = np.concatenate([[0], self.ends[:-1]])[: len(self.ends)].astype(np.int64)
        return RowSums.at(self.before, starts[1:], n)


def _of_repeated(detections: Detections, sums: Sums, mask: int) -> tuple[_Hits, Sums]:
    repeated, sums = detections.repeated(sums)
    return _Hits.of(repeated, mask), sums


def _best(scores: NDArray[np.floating], classes: NDArray[np.integer]) -> NDArray[np.int64]:
    """Positions of an image's detections, best first, at most 100 of each class."""
    order = np.argsort(-scores, kind="stable")
    kept = [order[classes[order] == label][:MAX_DETECTIONS] for label in np.unique(classes)]
    return order[np.isin(order, np.concatenate([order[:0], *kept]))]


def _truth(manifest: Manifest, labels: Sequence[str]) -> dict[str, tuple[Boxes, NDArray[np.int32]]]:
    """True boxes [G, 4] and classes [G] of each image that has any of these labels."""
    if manifest.boxes is None:
        return {}
    table = manifest.boxes[manifest.boxes["label"].isin(list(labels))]
    classes = np.array([labels.index(label) for label in table["label"]], np.int32)
    boxes = np.stack([np.asarray(table[side], np.float64) for side in ("x", "y", "width", "height")], axis=1)
    return {str(name): (boxes[at], classes[at]) for name, at in table.groupby("image_id").indices.items()}
