"""Phantom images as the CheXlocalize download: JPEGs by patient and study, labels, and masks as COCO's run lengths."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco

from cxrbench.data.datasets.chexpert import LABELS
from cxrbench.data.datasets.segmentation.chexlocalize import OUTLINED
from cxrbench.phantom.cases import Case
from cxrbench.phantom.findings import CARDIOMEGALY, EFFUSION, NODULE, OPACITY, PNEUMOTHORAX
from cxrbench.phantom.layouts.tables import TableRows, write_csv

PARTS = ("val",) * 2 + ("test",)
FIRST = {"val": 64541, "test": 64741}
SEEN = {
    "Cardiomegaly": CARDIOMEGALY, "Enlarged Cardiomediastinum": CARDIOMEGALY, "Airspace Opacity": OPACITY,
    "Lung Lesion": NODULE, "Pneumothorax": PNEUMOTHORAX, "Pleural Effusion": EFFUSION,
}  # fmt: skip
"""What the phantom draws of the ten findings; the others are nowhere."""
HEADER = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *LABELS]
Masks = dict[str, dict[str, Any]]


def chexlocalize_image(folder: Path, case: Case) -> tuple[str, str, list[Any], Masks]:
    """Write one image; returns its part, its name, its row of the labels, and its masks (none without a finding)."""
    image = case.image()
    part = PARTS[case.number % len(PARTS)]
    patient = f"patient{FIRST[part] + case.number}"
    path = f"{part}/{patient}/study1/view1_frontal.jpg"
    (folder / "CheXpert" / path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(image.image * 255).astype(np.uint8)).save(folder / "CheXpert" / path, quality=92)
    nothing = np.zeros(image.shape, bool)
    masks = dict.fromkeys(OUTLINED, nothing)
    for name, finding in SEEN.items():
        masks[name] = np.logical_or.reduce([nothing, *(f.mask for f in image.placed.of(finding))])
    found = {OUTLINED[name]: "1.0" for name, mask in masks.items() if mask.any()}
    labels = [found.get(label, "0.0") for label in LABELS]
    labels[LABELS.index("No Finding")] = "0.0" if found else "1.0"
    where = f"CheXpert-v1.0/valid/{path.removeprefix('val/')}" if part == "val" else path
    sex = "Female" if case.sex == "F" else "Male"
    packed = {name: _packed(mask) for name, mask in masks.items()} if found else {}
    return part, f"{patient}_study1_view1_frontal", [where, sex, case.age, "Frontal", image.view, *labels], packed


def chexlocalize_tables(folder: Path, part: str, records: list[tuple[str, str, list[Any], Masks]]) -> None:
    """``{val,test}_labels.csv`` and ``gt_segmentations_{val,test}.json``, which has images with a finding alone."""
    (folder / "CheXlocalize").mkdir(exist_ok=True)
    for name in dict.fromkeys(PARTS):
        rows: TableRows = [row for where, _, row, _ in records if where == name]
        write_csv(folder / "CheXpert" / f"{name}_labels.csv", HEADER, rows)
        masks = {image: packed for where, image, _, packed in records if where == name and packed}
        path = folder / "CheXlocalize" / f"gt_segmentations_{name}.json"
        path.write_text(json.dumps(masks), encoding="utf-8")


def _packed(mask: np.ndarray) -> dict[str, Any]:
    """A mask as pycocotools writes it into JSON."""
    runs: Any = coco.encode(np.asfortranarray(mask, np.uint8))
    return {"size": list(mask.shape), "counts": runs["counts"].decode()}
