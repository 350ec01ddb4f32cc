"""A contact sheet of a dataset: images with their masks and boxes, before anything is run on them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cxrbench.cli.showing.overlay import captioned, contact_sheet, edge, resized, write
from cxrbench.data.annotations.masks import TrueMasks
from cxrbench.data.decode.images import decode
from cxrbench.data.manifest import Manifest
from cxrbench.errors import BadImageError

COUNT, COLUMNS, SIDE = 24, 6, 320
DRAWN = SIDE - 16  # of a cell: above it stands a line of text
COLOURS = (
    (40, 230, 80), (255, 90, 60), (80, 160, 255), (255, 200, 40), (220, 110, 255), (60, 230, 230), (255, 130, 190),
    (190, 230, 90),
)  # fmt: skip


def sheet(manifest: Manifest, max_pixels: int) -> Image.Image:
    """Up to ``COUNT`` images with their outlines and boxes; above them the colour of each label that is drawn."""
    rows = chosen_rows(manifest, COUNT)
    truth = TrueMasks.of(manifest) if manifest.masks is not None and len(manifest.masks) else None
    drawn = [*(truth.labels if truth else ())]
    drawn += [] if manifest.boxes is None else [x for x in sorted(set(manifest.boxes["label"])) if x not in drawn]
    colour = {label: COLOURS[i % len(COLOURS)] for i, label in enumerate(drawn)}
    pictures = [_picture(manifest, row, truth, colour, max_pixels) for row in rows]
    whole = contact_sheet(pictures, min(COLUMNS, len(pictures)), SIDE)
    return _with_legend(whole, colour) if colour else whole


def chosen_rows(manifest: Manifest, count: int) -> list[int]:
    """Rows of every kind in turn: with a mask or box of each label, positive for each label, and of any kind at all."""
    images = manifest.images
    kinds: list[NDArray[np.bool_]] = []
    for table in [table for table in (manifest.masks, manifest.boxes) if table is not None]:
        for label in sorted(set(table["label"])):
            kinds.append(images["image_id"].isin(list(table.loc[table["label"] == label, "image_id"])).to_numpy())
    kinds += [column == 1 for column in manifest.targets().T]
    kinds.append(np.ones(len(images), bool))
    queues = [_spread(np.flatnonzero(kind), count) for kind in kinds]
    taken: dict[int, None] = {}
    for place in range(count):
        for queue in queues:
            if place < len(queue) and len(taken) < count:
                taken[queue[place]] = None
    return sorted(taken)


def _spread(rows: NDArray[np.int64], count: int) -> list[int]:
    """Up to ``count`` of the rows from all over, so that the first few of them are, too."""
    if not len(rows):
        return []
    some = rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(np.int64))]
    return np.random.default_rng(0).permutation(some).tolist()


def _picture(
    manifest: Manifest,
    row: int,
    truth: TrueMasks | None,
    colour: dict[str, tuple[int, int, int]],
    max_pixels: int,
) -> Image.Image:
    """One image with what is drawn on it, below its caption."""
    image_id, above = str(manifest.images["image_id"].iloc[row]), caption(manifest, row)
    try:
        image = decode(manifest.paths()[row], max_pixels=max_pixels)
    except BadImageError:
        return captioned(Image.new("RGB", (DRAWN, DRAWN)), f"{above}  cannot be read")
    picture = resized(image, DRAWN)
    if truth is not None:
        for label, mask in zip(truth.labels, truth.native(image_id, *image.shape) == 1, strict=True):
            small = np.asarray(Image.fromarray(mask).resize(picture.size, Image.Resampling.NEAREST))
            picture.paste(colour[label], mask=Image.fromarray(edge(small)))
    if manifest.boxes is not None:
        of = manifest.boxes.loc[manifest.boxes["image_id"] == image_id, ["label", "x", "y", "width", "height"]]
        scale = picture.width / image.shape[1], picture.height / image.shape[0]
        for label, x, y, width, height in of.itertuples(index=False):
            corners = (x * scale[0], y * scale[1], (x + width) * scale[0] - 1, (y + height) * scale[1] - 1)
            ImageDraw.Draw(picture).rectangle(_ordered(corners), outline=colour[label], width=2)
    return captioned(picture, above)


def caption(manifest: Manifest, row: int) -> str:
    """An image's split, its file's name without the folders, and what is known of it: labels and quantities."""
    record = manifest.images.iloc[row]
    positive = [label for label in manifest.labels if record[label] == 1]
    numbers = [f"{name} {record[f'quantity:{name}']:g}" for name in manifest.quantities]
    return f"{record['split']}  {Path(record['path']).name}  {', '.join([*positive, *numbers])}"


def _ordered(corners: Sequence[float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = corners
    return left, top, max(left, right), max(top, bottom)


def _with_legend(sheet: Image.Image, colour: dict[str, tuple[int, int, int]]) -> Image.Image:
    """The sheet below a line with the labels in their colours."""
    taller = Image.new("RGB", (sheet.width, sheet.height + 20))
    taller.paste(sheet, (0, 20))
    draw, at = ImageDraw.Draw(taller), 4.0
    for label, of in colour.items():
        write(draw, (at, 4), label, of)
        at += draw.textlength(label) + 16
    return taller
