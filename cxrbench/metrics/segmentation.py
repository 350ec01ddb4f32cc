"""Segmentation: pixel counts of predicted against true masks, and the means over images that are made of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from pycocotools import mask as coco

from cxrbench.data.manifest import Manifest
from cxrbench.metrics.classification import Array, Prepared, ratio, weighted_sums
from cxrbench.metrics.measure import Measure
from cxrbench.predictions import Predictions


def score(predictions: Predictions, manifest: Manifest) -> Predictions:
    """Fill ``intersection:L``, ``predicted:L`` and ``target:L`` (pixels of the stored image) from the true masks.

    Pixels marked as ignored are in none of the three. Where the true mask is unknown the target is NaN. Raises
    UserError if a mask does not fit its image.
    """
    from cxrbench.data.annotations.masks import TrueMasks  # decoders of images: for scoring, not for tables

    truth = TrueMasks.of(manifest)
    rows = predictions.rows.copy()
    order = [truth.labels.index(label) for label in predictions.labels]
    counts = np.full((3, len(rows), len(order)), np.nan)
    for i, (image_id, height, width) in enumerate(zip(rows["image_id"], rows["height"], rows["width"], strict=True)):
        known = truth.known(image_id)
        # most images of most datasets show nothing: their counts need no mask
        blank = image_id not in truth.parts
        masks = None if blank else truth.native(image_id, int(height), int(width))
        for k, (label, name) in enumerate(zip(order, predictions.labels, strict=True)):
            rle: Any = {"size": [int(height), int(width)], "counts": str(rows[f"rle:{name}"].iloc[i])}
            if masks is None or not known[label]:
                counts[:, i, k] = 0, coco.area(rle), 0 if known[label] else np.nan
                continue
            predicted, true = coco.decode(rle).astype(bool), masks[label] == 1
            counted = predicted & (masks[label] <= 1)
            counts[:, i, k] = (counted & true).sum(), counted.sum(), true.sum()
    for k, name in enumerate(predictions.labels):
        for values, column in zip(counts, ("intersection", "predicted", "target"), strict=True):
            rows[f"{column}:{name}"] = values[:, k]
    return replace(predictions, rows=rows)


def dice_of_images(intersection: Array, predicted: Array, target: Array) -> Array:
    """Dice of each image, 2 |P and T| / (|P| + |T|); 1 if both are empty; NaN where the truth is unknown."""
    return _quotient(2 * intersection, predicted + target)


def iou_of_images(intersection: Array, predicted: Array, target: Array) -> Array:
    """Intersection over union of each image; 1 if both are empty; NaN where the truth is unknown."""
    return _quotient(intersection, predicted + target - intersection)


def dice(rows: pd.DataFrame, labels: Sequence[str]) -> Mapping[str, Prepared]:
    """Mean Dice over images; an image without true pixels counts 1 if none is predicted, else 0."""
    return {label: _mean(*_values(dice_of_images, rows, label)) for label in labels}


def iou(rows: pd.DataFrame, labels: Sequence[str]) -> Mapping[str, Prepared]:
    """Mean IoU over images; an image without true pixels counts 1 if none is predicted, else 0."""
    return {label: _mean(*_values(iou_of_images, rows, label)) for label in labels}


def dice_positives(rows: pd.DataFrame, labels: Sequence[str]) -> Mapping[str, Prepared]:
    """Mean Dice over the images that have true pixels."""
    return {label: _mean(*_values(dice_of_images, rows, label, positives=True)) for label in labels}


def iou_positives(rows: pd.DataFrame, labels: Sequence[str]) -> Mapping[str, Prepared]:
    """Mean IoU over the images that have true pixels."""
    return {label: _mean(*_values(iou_of_images, rows, label, positives=True)) for label in labels}


def _quotient(part: Array, whole: Array) -> Array:
    return np.where(whole == 0, 1.0, part / np.where(whole == 0, 1.0, whole))


def _values(
    of_images: Callable[[Array, Array, Array], Array], rows: pd.DataFrame, label: str, *, positives: bool = False
) -> tuple[Array, Array]:
    """Values of each image, and which images count (1 or 0)."""
    intersection, predicted, target = (
        rows[f"{name}:{label}"].to_numpy(np.float64) for name in ("intersection", "predicted", "target")
    )
    values = of_images(intersection, predicted, target)
    counts = target > 0 if positives else ~np.isnan(target)
    return np.where(counts, values, 0.0), counts.astype(np.float64)


def _mean(values: Array, counts: Array) -> Prepared:
    """The weighted mean of the values that count; NaN where none has weight."""
    sums = weighted_sums((values, counts))
    return lambda weights: ratio(*sums(weights))


MEASURES: Mapping[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure("dice", "Dice", dice),
        Measure("iou", "IoU", iou),
        Measure("dice_positives", "Dice of positives", dice_positives),
        Measure("iou_positives", "IoU of positives", iou_positives),
    )
}
