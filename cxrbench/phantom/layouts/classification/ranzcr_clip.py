"""Phantom images as the RANZCR CLiP download: JPEGs with catheters on them, and a table of where these end."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from cxrbench.data.datasets.classification.ranzcr_clip import LABELS
from cxrbench.phantom.cases import Case
from cxrbench.phantom.grids import Grid
from cxrbench.phantom.layouts.tables import write_csv
from cxrbench.phantom.study import gray

Way = tuple[tuple[float, float], ...]
# The ways of catheters as shares of width and height: down the trachea, the oesophagus, the superior vena cava.
WAYS: dict[str, Way] = {
    "ETT - Normal": ((0.5, 0.0), (0.49, 0.16), (0.49, 0.28)),
    "ETT - Borderline": ((0.5, 0.0), (0.49, 0.2), (0.48, 0.36)),
    "ETT - Abnormal": ((0.5, 0.0), (0.49, 0.3), (0.42, 0.48)),
    "NGT - Normal": ((0.52, 0.0), (0.51, 0.5), (0.53, 0.78), (0.66, 0.9)),
    "NGT - Borderline": ((0.52, 0.0), (0.51, 0.5), (0.53, 0.76)),
    "NGT - Incompletely Imaged": ((0.52, 0.0), (0.51, 0.6), (0.55, 1.0)),
    "NGT - Abnormal": ((0.52, 0.0), (0.51, 0.35), (0.6, 0.55), (0.7, 0.6)),
    "CVC - Normal": ((0.3, 0.12), (0.4, 0.1), (0.43, 0.25), (0.43, 0.42)),
    "CVC - Borderline": ((0.3, 0.12), (0.4, 0.1), (0.43, 0.3), (0.44, 0.6)),
    "CVC - Abnormal": ((0.3, 0.12), (0.4, 0.14), (0.55, 0.12), (0.72, 0.06)),
    "Swan Ganz Catheter Present": ((0.38, 0.0), (0.42, 0.3), (0.45, 0.68), (0.62, 0.6), (0.62, 0.4)),
}
SHARES = {"ETT": 0.4, "NGT": 0.5, "CVC": 0.7, "Swan": 0.15}
"""Share of images with each kind of catheter."""


def ranzcr_clip_image(folder: Path, case: Case) -> list[Any]:
    """Write one image with its catheters; returns its row of the table. Patients have two images each."""
    rng, name = case.rng(7), case.uid("instance")
    shown = [
        str(rng.choice([label for label in LABELS if label.startswith(kind)]))
        for kind, share in SHARES.items()
        if rng.random() < share
    ]
    image = case.image().image
    drawn = image if case.blank else with_catheters(image, [WAYS[label] for label in shown], case)
    (folder / "train").mkdir(exist_ok=True)
    gray(drawn).save(folder / "train" / f"{name}.jpg", "JPEG", quality=92)
    return [name, *(int(label in shown) for label in LABELS), f"{case.number // 2:09x}"]


def with_catheters(image: Grid, ways: Sequence[Way], case: Case) -> Grid:
    """The image [H, W] with a thin bright line along each way, each a little beside it."""
    rng, (height, width) = case.rng(8), image.shape
    canvas = Image.new("L", (width * 2, height * 2))
    t = np.linspace(0, 1, 60)[:, None]
    for way in ways:
        points = np.repeat((np.array(way) + rng.normal(0, 0.008, (len(way), 2)))[:, None], len(t), axis=1)
        while len(points) > 1:  # a Bezier curve
            points = points[:-1] * (1 - t) + points[1:] * t
        line = (points[0] * (width * 2, height * 2)).ravel().tolist()
        ImageDraw.Draw(canvas).line(line, fill=225, width=4, joint="curve")
    return np.maximum(image, np.asarray(canvas.reduce(2), np.float32) / 255).astype(np.float32)


def ranzcr_clip_tables(folder: Path, part: str, records: Sequence[list[Any]]) -> None:
    """``train.csv``."""
    write_csv(folder / "train.csv", ["StudyInstanceUID", *LABELS, "PatientID"], records)
