"""Phantom images as the QaTa-COV19 v2 download: PNGs of 224 pixels, each with a mask of the infection."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from cxrbench.phantom.cases import Case
from cxrbench.phantom.findings import OPACITY
from cxrbench.phantom.layouts.segmentation.files import write_mask, write_png

SIDE = 224
SETS = ("Train Set",) * 4 + ("Test Set",)


def qata_image(folder: Path, case: Case) -> None:
    """Write one image and its mask: an opacity, which everyone here has. Two of three names tell the patient."""
    grade = float(case.rng(5).beta(1.5, 1.3))
    image = replace(case, grades={**case.grades, OPACITY: case.grades.get(OPACITY, grade)}).image()
    place = folder / "QaTa-COV19-v2" / SETS[case.number % len(SETS)]
    number = case.number + 1
    name = f"covid_{number}"
    if case.number % 3:
        name = f"sub-S{number:05d}_ses-E{case.age:05d}_run-1_bp-chest_vp-{image.view.lower()}_dx"
    mask = np.logical_or.reduce([f.mask for f in image.placed.of(OPACITY)] or [np.zeros(image.shape, bool)])
    write_png(place / "Images" / f"{name}.png", image.image, side=SIDE)
    write_mask(place / "Ground-truths" / f"mask_{name}.png", mask, side=SIDE)


def qata_tables(folder: Path, part: str, records: list[None]) -> None:
    """There are no tables."""
