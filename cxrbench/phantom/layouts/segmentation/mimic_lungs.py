"""Phantom images as MIMIC's lung segmentation: JPEGs as MIMIC has them, pictures of lungs and rest, scene graphs."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cxrbench.phantom.anatomy import Mask
from cxrbench.phantom.cases import Case

HEIGHTS = ("upper", "mid", "lower")
FIRST, FIRST_STUDY = 17_000_000, 57_000_000  # of nobody in the phantom of MIMIC
DIMMEST = 40  # of a lung in its picture, where black means that there is none
Graph = dict[str, Any]


def mimic_lungs_image(folder: Path, case: Case) -> tuple[str, Graph]:
    """Write one image and its two pictures; returns its DICOM id and its scene graph."""
    image = case.image()
    subject, study = FIRST + case.number, FIRST_STUDY + case.number
    rng = case.rng(5)
    name = "-".join(rng.bytes(4).hex() for _ in range(5))
    pixels = np.rint(image.image * 255).astype(np.uint8)
    lung = image.thorax.lung
    for path, picture in (
        (f"files/p{str(subject)[:2]}/p{subject}/s{study}/{name}.jpg", pixels),
        (f"lung-segment-mimic-cxr/{name}_lung.png", np.where(lung, np.maximum(pixels, DIMMEST), np.uint8(0))),
        (f"lung-segment-mimic-cxr/{name}_rest.png", np.where(lung, np.uint8(0), pixels)),
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / path, quality=92)
    objects = [*_regions(lung & ~image.thorax.left, "right"), *_regions(lung & image.thorax.left, "left")]
    return name, {"image_id": name, "patient_id": subject, "study_id": study, "objects": objects}


def mimic_lungs_tables(folder: Path, part: str, records: list[tuple[str, Graph]]) -> None:
    """``scene_graph.zip``, as Chest ImaGenome has it."""
    place = folder / "chest-imagenome" / "silver_dataset"
    place.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(place / "scene_graph.zip", "w") as archive:
        for name, graph in records:
            archive.writestr(zipfile.ZipInfo(f"scene_graph/{name}_SceneGraph.json"), json.dumps(graph))


def _regions(lung: Mask, side: str) -> list[Graph]:
    """The box of a lung and those of its thirds, a little wider than the lung."""
    rows, columns = np.flatnonzero(lung.any(1)), np.flatnonzero(lung.any(0))
    left, right = int(columns[0]) - 2, int(columns[-1]) + 3
    edges = np.linspace(rows[0], rows[-1] + 1, len(HEIGHTS) + 1).round().astype(int).tolist()
    boxes = [(f"{side} lung", edges[0], edges[-1])]
    boxes += [(f"{side} {height} lung zone", *edges[n : n + 2]) for n, height in enumerate(HEIGHTS)]
    return [
        {"object_id": name, "bbox_name": name, "original_x1": left, "original_y1": top, "original_x2": right,
         "original_y2": bottom} for name, top, bottom in boxes
    ]  # fmt: skip
