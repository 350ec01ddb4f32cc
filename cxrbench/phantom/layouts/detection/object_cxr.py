"""Phantom images as the Object-CXR download: JPEGs with foreign objects on them, and their shapes in a table."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from cxrbench.phantom.cases import Case
from cxrbench.phantom.grids import Grid
from cxrbench.phantom.layouts.tables import write_csv
from cxrbench.phantom.study import gray

WITH_OBJECTS = 0.5  # share of images, as in the original
MOST = 5  # objects of an image
FINER = 4  # an object is drawn at so many times the size, and averaged


class ForeignObject(NamedTuple):
    """What hides the lung: its kind as the table has it, its numbers there, and how bright it is in [0, 1]."""

    kind: int
    numbers: tuple[int, ...]
    brightness: float

    def __str__(self) -> str:
        return " ".join(map(str, (self.kind, *self.numbers)))


def object_cxr_image(folder: Path, case: Case) -> tuple[str, str]:
    """Write one image; returns its row of ``train.csv`` or ``dev.csv``: its name and its shapes."""
    part = case.part.removeprefix("object-cxr_")
    image = case.image()
    objects = foreign_objects(case.rng(3), image.shape)
    pixels = image.image if case.blank else drawn(image.image, objects)
    name = f"{case.number + 1 + (50_000 if part == 'dev' else 0):05d}.jpg"
    (folder / part).mkdir(exist_ok=True)
    gray(pixels).save(folder / part / name, "JPEG", quality=92)
    return name, ";".join(map(str, objects))


def object_cxr_tables(folder: Path, part: str, records: Sequence[tuple[str, str]]) -> None:
    """``train.csv`` or ``dev.csv``."""
    rows = [list(record) for record in records]
    write_csv(folder / f"{part.removeprefix('object-cxr_')}.csv", ["image_name", "annotation"], rows)


def foreign_objects(rng: Generator, shape: tuple[int, int]) -> list[ForeignObject]:
    """Buttons (ellipses), hooks (rectangles) and bits of chains (polygons) on the lungs of an image [H, W], or none."""
    if rng.random() >= WITH_OBJECTS:
        return []
    height, width = shape
    found = []
    for _ in range(int(rng.integers(1, MOST + 1))):
        kind = int(rng.choice(3, p=(0.3, 0.45, 0.25)))
        x = round(float(rng.choice((rng.uniform(0.18, 0.4), rng.uniform(0.6, 0.82)))) * width)
        y = round(rng.uniform(0.2, 0.7) * height)
        w, h = (int(v) for v in rng.integers(8, 22, 2))
        brightness = float(rng.uniform(0.85, 1))
        if kind == 2:
            angles = np.sort(rng.uniform(0, 2 * np.pi, 7))
            reach = rng.uniform(0.6, 1.2, 7)
            points = np.rint(np.stack([x + w * reach * np.cos(angles), y + h * reach * np.sin(angles)], axis=1))
            found.append(ForeignObject(kind, tuple(points.astype(int).ravel().tolist()), brightness))
        else:
            found.append(ForeignObject(kind, (x, y, x + w, y + h), brightness))
    return found


def drawn(image: Grid, objects: Sequence[ForeignObject]) -> Grid:
    """The image [H, W] with objects that let little through."""
    height, width = image.shape
    for one in objects:
        canvas = Image.new("L", (width * FINER, height * FINER))
        draw = ImageDraw.Draw(canvas)
        points = [FINER * number for number in one.numbers]
        if one.kind == 0:
            draw.rectangle(points, fill=255)
        elif one.kind == 1:
            draw.ellipse(points, fill=255)
        else:
            draw.polygon(points, fill=255)
        cover = 0.9 * np.asarray(canvas.reduce(FINER), np.float32) / 255
        image = image * (1 - cover) + np.float32(one.brightness) * cover
    return image.astype(np.float32)
