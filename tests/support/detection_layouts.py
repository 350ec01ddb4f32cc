"""Tiny datasets with boxes in the official layouts, written by hand."""

from pathlib import Path

import numpy as np
from PIL import Image

from cxrbench.data.manifest import Manifest
from support.layouts import text

WIDTH, HEIGHT = 40, 30
SHAPES = {
    0: "0 2 3 12 9",
    1: "1 20 4 30 10",
    2: "2 5 5 15 8 11 21 4 17;0 1 1 4 4",
    3: "",
    4: "",
}
"""Annotation of image n of the training table: that of n modulo 5."""


def picture(path: Path, value: int = 100, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.add.outer(np.arange(size[1]), np.arange(size[0])) % 50 + value
    Image.fromarray(pixels.astype(np.uint8)).save(path, quality=95)


def boxes_of(manifest: Manifest, image_id: str) -> list[tuple[str, float, float, float, float]]:
    """Label, x, y, width, height of each box of an image, in the manifest's order."""
    assert manifest.boxes is not None
    rows = manifest.boxes[["image_id", "label", "x", "y", "width", "height"]].to_numpy().tolist()
    return [tuple(row[1:]) for row in rows if row[0] == image_id]


def object_cxr(root: Path) -> Path:
    """20 training images with SHAPES and 5 of dev.csv, one without a shape; test/ has an image that no table has."""
    for part, count in (("train", 20), ("dev", 5)):
        rows = []
        for number in range(count):
            picture(root / part / f"{number:05d}.jpg", 60 + number)
            rows.append(f"{number:05d}.jpg,{SHAPES[number % 5] if part == 'train' else SHAPES[number % 4]}")
        text(root / f"{part}.csv", "image_name,annotation", *rows)
    picture(root / "test" / "09000.jpg")
    return root
