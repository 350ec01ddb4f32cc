"""Boxes in pixels of the stored image: are they sound, and what do several readers' boxes of one finding mean."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrbench.data.decode.images import image_size
from cxrbench.errors import BadImageError, UserError
from cxrbench.files.names import plain

SIDES = ["x", "y", "width", "height"]
SAME_PLACE = 0.4
"""Boxes of two readers whose IoU is above this are one finding: where the papers' mAP begins to count a hit."""
SLACK = 1.0  # pixels: an edge drawn on the last pixel may lie just beyond it
THREADS = 8  # headers may come over a network file system, where waiting is most of the work

Boxes = NDArray[np.float64]


def sides(boxes: pd.DataFrame) -> Boxes:
    """x, y, width, height [n, 4] of a box table."""
    return boxes[SIDES].to_numpy(np.float64)


def check_areas(boxes: pd.DataFrame, where: str) -> None:
    """Raise UserError for a box without area, one that begins left of or above the image, or boxes in fractions.

    Boxes in fractions of the image's sides (as YOLO writes them) all end within 1.
    """
    values = sides(boxes)
    sound = np.isfinite(values) & (values > [-np.inf, -np.inf, 0, 0])
    flat = np.asarray(~sound.all(axis=1))
    early = np.asarray((values[:, :2] < -SLACK).any(axis=1))
    for bad, what in ((flat, "has no area"), (early, "begins outside of the image")):
        if bad.any():
            raise UserError(f"{where}: box {_described(boxes, bad)} {what}; mend or remove it{_others(bad)}")
    if len(boxes) and (values[:, :2] + values[:, 2:] <= 1).all():
        raise UserError(
            f"{where}: all {len(boxes):,} boxes lie within 0..1, as fractions of the image would: multiply them by its "
            "width and height, boxes are in pixels of the stored image"
        )


def check_inside(boxes: pd.DataFrame, sizes: Mapping[str, tuple[int, int]], where: str) -> None:
    """Raise UserError for a box that ends beyond its image. ``sizes``: height and width by image id, where known."""
    ends = sides(boxes) @ np.array([[1, 0], [0, 1], [1, 0], [0, 1]])
    unknown = (np.inf, np.inf)
    limits = np.array([sizes.get(str(name), unknown)[::-1] for name in boxes["image_id"]], np.float64).reshape(-1, 2)
    outside = np.asarray((ends > limits + SLACK).any(axis=1))
    if outside.any():
        width, height = limits[outside][0].astype(int)
        raise UserError(
            f"{where}: box {_described(boxes, outside)} ends outside of the image, which has {width} x {height} "
            f"pixels; give boxes in pixels of the stored image{_others(outside)}"
        )


def cut_to_images(
    boxes: pd.DataFrame, sizes: Mapping[str, tuple[int, int]], where: str
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The boxes cut at the edges of their images, and a note where one reached beyond by more than a pixel.

    For published sets, whose annotation tools let boxes run over the edge. ``sizes``: height and width by image id,
    where known. Raises UserError for a box whose middle is outside of its image: that is a box of another image, or of
    another size of it.
    """
    values = sides(boxes)
    unknown = (np.inf, np.inf)
    limits = np.array([sizes.get(str(name), unknown)[::-1] for name in boxes["image_id"]], np.float64).reshape(-1, 2)
    low, high = values[:, :2], values[:, :2] + values[:, 2:]
    middle = (low + high) / 2
    outside = np.asarray(((middle < 0) | (middle > limits)).any(axis=1))
    if outside.any():
        width, height = limits[outside][0]
        raise UserError(
            f"{where}: box {_described(boxes, outside)} lies outside of the image, which has {width:g} x {height:g} "
            f"pixels; are the images those that the boxes were drawn on, at their own size?{_others(outside)}"
        )
    over = int(((low < -SLACK) | (high > limits + SLACK)).any(axis=1).sum())
    low, high = np.maximum(low, 0), np.minimum(high, limits)
    cut = boxes.assign(x=low[:, 0], y=low[:, 1], width=high[:, 0] - low[:, 0], height=high[:, 1] - low[:, 1])
    return cut, ((f"{over:,} box(es) of {where} reach beyond their image and were cut at its edge.",) if over else ())


def image_sizes(paths: Mapping[str, Path]) -> dict[str, tuple[int, int]]:
    """Height and width by image id, from the headers alone. Files that cannot be read are left to who decodes them."""

    def one(path: Path) -> tuple[int, int] | None:
        try:
            return image_size(path)
        except BadImageError:
            return None

    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(one, paths.values())
        return {name: size for name, size in zip(paths, found, strict=True) if size is not None}


def without_repeated(boxes: pd.DataFrame, where: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The boxes without rows that repeat an earlier one in every column, and a note where there are such rows."""
    kept = boxes.drop_duplicates(ignore_index=True)
    lost = len(boxes) - len(kept)
    return kept, ((f"{lost:,} repeated box row(s) of {where} count once.",) if lost else ())


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

    corners: [n, 4] (left, top, right, bottom); scores: [n], positive. Boxes are taken by descending score; each joins
    the fused box of highest IoU, if that is above ``threshold``, or opens a new one; a fused box is the mean of its
    members weighted by score. Returns [k, 4] in the order in which they were opened.

    The paper does not say which of several equal scores comes first, and where all are 1 (readers have no scores)
    that decides what is fused. Here the rows' order decides nothing: among equal scores the box that agrees most with
    the others of its class comes first (sum of its IoU with them), so that fused boxes grow from where readers agree;
    then the larger one; then the one further left, up, and so on. The first two are the same for a mirrored or turned
    image, and the last can only tell apart boxes that the others do not.
    """
    overlap = np.sort(np.stack([_iou(corners, box) for box in corners]), axis=1) if len(corners) else np.empty((0, 0))
    agreement = overlap.sum(axis=1).round(9)  # of sorted terms: the rows' order does not show in the last bits either
    areas = (corners[:, 2:] - corners[:, :2]).prod(1)
    members: list[list[int]] = []
    fused = np.empty((0, 4))
    for i in np.lexsort((*corners.T[::-1], -areas, -agreement, -scores)):
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
    return f"({numbers}) of {plain(str(row['label']))} of image {plain(str(row['image_id']))}"


def _others(bad: NDArray[np.bool_]) -> str:
    return f" ({bad.sum() - 1:,} more like it)" if bad.sum() > 1 else ""
