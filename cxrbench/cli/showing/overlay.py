"""Predicted against true masks or boxes, drawn over the images: green is true, red is predicted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pycocotools import mask as coco

from cxrbench.data.annotations.masks import TrueMasks
from cxrbench.metrics.segmentation import dice_of_images
from cxrbench.predictions import Predictions

TRUE, PREDICTED, TEXT = (40, 230, 80), (255, 60, 40), (255, 220, 0)
CONFIDENT = 0.3
"""Detections with a lower score are not drawn, and do not count when the best and worst images are sought."""
AP50_BIT = 1 << 2  # IoU 0.40, 0.45, 0.50, ...

Boxes = NDArray[np.float64]


@dataclass(frozen=True)
class ShownImage:
    """A row (index into the table of test rows) to be shown, its rank among all and its value."""

    row: int
    rank: str
    value: float


def image_values(predictions: Predictions, rows: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.bool_], str]:
    """How good each row is, whether it has anything to find, and the name of the value.

    Segmentation: Dice, mean over labels of known truth. Detection: F1 at IoU 0.5 of the detections with a score of at
    least CONFIDENT, 1 where there is nothing to find and nothing is found.
    """
    targets = predictions.targets(rows)
    shown = np.nan_to_num(targets).sum(1) > 0
    if predictions.kind == "segmentation":
        counts = [
            rows[[f"{name}:{label}" for label in predictions.labels]].to_numpy(np.float64)
            for name in ("intersection", "predicted", "target")
        ]
        dices = dice_of_images(counts[0], counts[1], counts[2])
        known = ~np.isnan(dices)
        means = np.where(known, dices, 0).sum(1) / np.maximum(known.sum(1), 1)
        return np.where(known.any(1), means, np.nan), shown, "Dice"
    hits, found = np.zeros(len(rows)), np.zeros(len(rows))
    for i, (scores, matches) in enumerate(zip(rows["scores"], rows["matches"], strict=True)):
        drawn = np.asarray(scores) >= CONFIDENT
        found[i], hits[i] = drawn.sum(), (np.asarray(matches, int)[drawn] & AP50_BIT > 0).sum()
    total = found + np.nan_to_num(targets).sum(1)
    return np.where(total == 0, 1.0, 2 * hits / np.maximum(total, 1)), shown, "F1 at IoU 0.5"


def choose(values: NDArray[np.float64], shown: NDArray[np.bool_], count: int) -> list[ShownImage]:
    """About a third each of best, median and worst rows; no row twice.

    Best and median are sought among rows with something to find (if any): an empty image rightly left empty teaches
    nothing. The worst are sought among all.
    """
    candidates = np.flatnonzero(shown & ~np.isnan(values))
    if not len(candidates):
        candidates = np.flatnonzero(~np.isnan(values))
    order = candidates[np.argsort(-values[candidates], kind="stable")]
    everything = np.flatnonzero(~np.isnan(values))
    worst_first = everything[np.argsort(values[everything], kind="stable")]
    thirds = [count // 3 + (count % 3 > i) for i in range(3)]
    middle = order[np.argsort(np.abs(np.arange(len(order)) - (len(order) - 1) / 2), kind="stable")]
    taken: dict[int, str] = {}
    for rank, ranking, share in zip(("best", "worst", "median"), (order, worst_first, middle), thirds, strict=True):
        for row in [int(r) for r in ranking if int(r) not in taken][:share]:
            taken[row] = rank
    for row in [int(r) for r in worst_first if int(r) not in taken][: count - len(taken)]:
        taken[row] = "worst"
    ranks = ("best", "median", "worst")
    cases = [ShownImage(row, rank, float(values[row])) for row, rank in taken.items()]
    return sorted(cases, key=lambda case: (ranks.index(case.rank), -case.value))


def draw_masks(
    radiograph: NDArray[np.float32], true: NDArray[np.uint8], predicted: NDArray[np.bool_], side: int
) -> Image.Image:
    """An image [H, W] in [0, 1], its longer side brought to ``side``, with the edges of masks [L, H, W] of either kind.

    ``true``: as ``TrueMasks.native`` gives them; 255 is not drawn.
    """
    image = resized(radiograph, side)
    size = (image.width, image.height)
    for masks, colour in ((true == 1, TRUE), (predicted, PREDICTED)):
        for mask in masks:
            small = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
            image.paste(colour, mask=Image.fromarray(edge(small)))
    return image


def draw_boxes(
    radiograph: NDArray[np.float32], true: Boxes, predicted: Boxes, captions: Sequence[str], side: int
) -> Image.Image:  # fmt: skip
    """An image with boxes [n, 4] (x, y, width, height in its pixels); ``captions``: of the predicted ones."""
    image = resized(radiograph, side)
    scale = image.width / radiograph.shape[1], image.height / radiograph.shape[0]
    draw = ImageDraw.Draw(image)
    for boxes, colour in ((true, TRUE), (predicted, PREDICTED)):
        for x, y, width, height in boxes:
            left, top = x * scale[0], y * scale[1]
            right, bottom = max(left, (x + width) * scale[0] - 1), max(top, (y + height) * scale[1] - 1)
            draw.rectangle((left, top, right, bottom), outline=colour, width=2)
    for (x, y, *_), text in zip(predicted, captions, strict=True):
        write(draw, (x * scale[0] + 3, y * scale[1] + 2), text, PREDICTED)
    return image


def draw_case(
    predictions: Predictions, row: Mapping[Any, Any], image: NDArray[np.float32], truth: TrueMasks | None, side: int
) -> Image.Image:
    """One test row over its image [H, W]; ``truth``: of a segmentation."""
    if predictions.kind == "segmentation":
        assert truth is not None
        height, width = int(row["height"]), int(row["width"])
        order = [truth.labels.index(label) for label in predictions.labels]
        masks: list[Any] = [{"size": [height, width], "counts": row[f"rle:{label}"]} for label in predictions.labels]
        predicted = np.stack([coco.decode(mask) for mask in masks]).astype(bool)
        return draw_masks(image, truth.native(str(row["image_id"]), height, width)[order], predicted, side)
    scores = np.asarray(row["scores"], np.float64)
    drawn = scores >= CONFIDENT
    boxes = np.asarray(row["boxes"], np.float64).reshape(-1, 4)[drawn]
    names = [predictions.labels[label] for label in np.asarray(row["classes"], int)[drawn]]
    captions = [f"{name} {score:.2f}" for name, score in zip(names, scores[drawn], strict=True)]
    return draw_boxes(image, np.asarray(row["true_boxes"], np.float64).reshape(-1, 4), boxes, captions, side)


def captioned(image: Image.Image, text: str) -> Image.Image:
    """The image with a line of text above it."""
    taller = Image.new("RGB", (image.width, image.height + 16))
    taller.paste(image, (0, 16))
    ImageDraw.Draw(taller).text((3, 2), text, fill=TEXT)
    return taller


def contact_sheet(images: Sequence[Image.Image], columns: int, side: int) -> Image.Image:
    """All images in cells of ``side`` x ``side`` pixels, row by row."""
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * side, rows * side))
    for i, image in enumerate(images):
        small = image.copy()
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        sheet.paste(small, (i % columns * side, i // columns * side))
    return sheet


def resized(image: NDArray[np.float32], side: int) -> Image.Image:
    """An image [H, W] in [0, 1] in colour, its longer side brought to ``side``."""
    scale = side / max(image.shape)
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    gray = Image.fromarray(np.rint(image * 255).astype(np.uint8))
    return gray.resize(size, Image.Resampling.BILINEAR).convert("RGB")


def edge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of a mask that are within two pixels of what is not in it (or of the image's edge)."""
    inner = np.pad(mask, 2)
    for axis in (0, 1):
        inner = inner & np.roll(inner, 1, axis) & np.roll(inner, -1, axis)
        inner = inner & np.roll(inner, 1, axis) & np.roll(inner, -1, axis)
    return mask & ~inner[2:-2, 2:-2]


def write(draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, colour: tuple[int, int, int]) -> None:
    """Text on black."""
    draw.rectangle(draw.textbbox(at, text), fill=(0, 0, 0))
    draw.text(at, text, fill=colour)
