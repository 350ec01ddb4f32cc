"""Anchors: the box shapes that a detection head starts from, learnt from the training boxes."""

import numpy as np
from numpy.typing import NDArray

ANCHORS = 9
RESTARTS = 10
ROUNDS = 100

Shapes = NDArray[np.float64]


def anchors(shapes: Shapes, generator: np.random.Generator, count: int = ANCHORS) -> Shapes:
    """``count`` shapes [count, 2] by k-means on boxes' (width, height) [n, 2], sorted by area.

    The distance is 1 - IoU of two boxes with one centre: Redmon and Farhadi (2017), YOLO9000, section 2. Of several
    random starts the one with the highest mean IoU between a box and its nearest anchor is kept. Fewer than
    ``count`` boxes give some anchors twice.
    """
    best, best_fit = shapes[:0], -1.0
    for _ in range(RESTARTS):
        found = _k_means(shapes, generator.choice(shapes, count, replace=len(shapes) < count))
        fit = float(shape_iou(shapes, found).max(1).mean())
        if fit > best_fit:
            best, best_fit = found, fit
    return best[np.argsort(best.prod(1), kind="stable")]


def shape_iou(shapes: Shapes, others: Shapes) -> NDArray[np.float64]:
    """IoU [n, m] of boxes with one centre, from their (width, height) [n, 2] and [m, 2]."""
    shared = np.minimum(shapes[:, None], others[None]).prod(2)
    return shared / (shapes.prod(1)[:, None] + others.prod(1)[None] - shared)


def _k_means(shapes: Shapes, centres: Shapes) -> Shapes:
    """Lloyd's rounds from given centres until nothing moves; a centre without boxes stays."""
    for _ in range(ROUNDS):
        nearest = shape_iou(shapes, centres).argmax(1)
        counts = np.bincount(nearest, minlength=len(centres))[:, None]
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, shapes)
        moved = np.where(counts > 0, sums / np.maximum(counts, 1), centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres
