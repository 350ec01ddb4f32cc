"""Phantom images as the COVID-QU-Ex download: PNGs of 256 pixels, lung masks, and infection masks for some."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from cxrbench.data.datasets.segmentation.covid_qu_ex import INFECTION_DATA, LUNG_DATA
from cxrbench.phantom.cases import Case
from cxrbench.phantom.findings import OPACITY
from cxrbench.phantom.layouts.segmentation.files import write_mask, write_png

PARTS = ("Train",) * 3 + ("Val", "Test")
CLASSES = ("COVID-19", "Normal", "Non-COVID", "COVID-19")
NAMES = {"COVID-19": "covid_{}", "Normal": "Normal ({})", "Non-COVID": "non_COVID ({})"}


def covid_qu_ex_image(folder: Path, case: Case) -> None:
    """Write one image and its masks. COVID-19 is an opacity here; of three images in four the infection is outlined."""
    label = CLASSES[case.number % len(CLASSES)]
    grades = {name: grade for name, grade in case.grades.items() if name != OPACITY and label != "Normal"}
    if label == "COVID-19":
        grades[OPACITY] = float(case.rng(5).beta(1.5, 1.3))
    image = replace(case, grades=grades).image()
    part = PARTS[case.number // len(CLASSES) % len(PARTS)]
    name = NAMES[label].format(case.number + 1)
    if label == "COVID-19" and case.number % 3 == 0:
        name = f"sub-S{case.number:05d}_ses-E{case.age:05d}_run-1_bp-chest_vp-{image.view.lower()}_dx"
    place = folder / LUNG_DATA / LUNG_DATA / part / label
    write_png(place / "images" / f"{name}.png", image.image)
    write_mask(place / "lung masks" / f"{name}.png", image.thorax.lung)
    if case.number % len(CLASSES) < 3:
        other = folder / INFECTION_DATA / INFECTION_DATA / part / label
        for kind in ("images", "lung masks"):
            (other / kind).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(place / kind / f"{name}.png", other / kind / f"{name}.png")
        masks = [f.mask for f in image.placed.of(OPACITY)]
        write_mask(other / "infection masks" / f"{name}.png",
                   np.logical_or.reduce([np.zeros(image.shape, bool), *masks]))  # fmt: skip


def covid_qu_ex_tables(folder: Path, part: str, records: list[None]) -> None:
    """There are no tables."""
