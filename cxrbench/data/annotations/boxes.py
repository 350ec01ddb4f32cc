"""Boxes in pixels of the stored image: are they sound, and what do several readers' boxes of one finding mean."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrbench.errors import UserError

SIDES = ["x", "y", "width", "height"]
SAME_PLACE = 0.4
"""Boxes of two readers whose IoU is above this are one finding: where the papers' mAP begins to count a hit."""
SLACK = 1.0  # pixels: an edge drawn on the last pixel may lie just beyond it

Boxes = NDArray[np.float64]


def sides(boxes: pd.DataFrame) -> Boxes:
    """x, y, width, height [n, 4] of a box table."""
    return boxes[SIDES].to_numpy(np.float64)


def check_areas(boxes: pd.DataFrame, where: str) -> None:
    """Raise UserError for a box without area, or one that begins left of or above the image."""
    values = sides(boxes)
    sound = np.isfinite(values) & (values > [-np.inf, -np.inf, 0, 0])
    flat = np.asarray(~sound.all(axis=1))
    early = np.asarray((values[:, :2] < -SLACK).any(axis=1))
    for bad, what in ((flat, "has no area"), (early, "begins outside of the image")):
        if bad.any():
            raise UserError(f"{where}: box {_described(boxes, bad)} {what}; mend or remove it{_others(bad)}")


def check_inside(boxes: pd.DataFrame, sizes: Mapping[str, tuple[int, int]], where: str) -> None:
    """Raise UserError for a box that ends beyond its image. ``sizes``: height and width by image id."""
    ends = sides(boxes) @ np.array([[1, 0], [0, 1], [1, 0], [0, 1]])
    limits = np.array([sizes[str(name)][::-1] for name in boxes["image_id"]], np.float64).reshape(-1, 2)
    outside = np.asarray((ends > limits + SLACK).any(axis=1))
    if outside.any():
        width, height = limits[outside][0].astype(int)
        raise UserError(
            f"{where}: box {_described(boxes, outside)} ends outside of the image, which has {width} x {height} "
            f"pixels; give boxes in pixels of the stored image{_others(outside)}"
        )


def fuse_readers(boxes: pd.DataFrame) -> pd.DataFrame:
    """One box per finding from the boxes of several readers: weighted box fusion within each image and label.

    Readers count equally, so a fused box is the mean of its readers' edges. A box that only one reader drew stays.
    Returns ``image_id, label, x, y, width, height``.
    """
    values = sides(boxes)
    corners = np.concatenate([values[:, :2], values[:, :2] + values[:, 2:]], axis=1)
    parts = []
    for (image, label), rows in boxes.groupby(["image_id", "label"], sort=True).indices.items():  # pyright: ignore
        fused = weighted_box_fusion(corners[rows], np.ones(len(rows)), SAME_PLACE)
        parts += [(image, label, *box[:2], *(box[2:] - box[:2])) for box in fused]
    return pd.DataFrame(parts, columns=["image_id", "label", *SIDES])


def weighted_box_fusion(corners: Boxes, scores: Boxes, threshold: float) -> Boxes:
    """Weighted box fusion of boxes of one class. Solovyev, Wang and Gabruseva (2021), section 2.

    corners: [n, 4] (left, top, right, bottom); scores: [n], positive. Boxes are taken by descending score (equal ones
    in the given order); each joins the fused box of highest IoU, if that is above ``threshold``, or opens a new one; a
    fused box is the mean of its members weighted by score. Returns [k, 4] in the order in which they were opened.
    """
    members: list[list[int]] = []
    fused = np.empty((0, 4))
    for i in np.argsort(-scores, kind="stable"):
        overlaps = _iou(fused, corners[i])
        if len(fused) and overlaps.max() > threshold:
            best = int(overlaps.argmax())
            members[best].append(int(i))
            fused[best] = np.average(corners[members[best]], axis=0, weights=scores[members[best]])
        else:
            members.append([int(i)])
            fused = np.concatenate([fused, corners[i][None]])
    return fused


def _iou(boxes: Boxes, box: Boxes) -> Boxes:
    """Intersection over union [n] of boxes [n, 4] with one box [4], given by corners."""
    shared = np.maximum(np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2]), 0).prod(1)
    return shared / ((boxes[:, 2:] - boxes[:, :2]).prod(1) + (box[2:] - box[:2]).prod() - shared)


def _described(boxes: pd.DataFrame, bad: NDArray[np.bool_]) -> str:
    """The first bad box in words."""
    row = boxes.iloc[int(bad.argmax())]
    numbers = ", ".join(f"{side} {row[side]:g}" for side in SIDES)
    return f"({numbers}) of {row['label']} of image {row['image_id']}"


def _others(bad: NDArray[np.bool_]) -> str:
    return f" ({bad.sum() - 1:,} more like it)" if bad.sum() > 1 else ""
