"""Phantom images as the VinDr-CXR download: DICOM of 12 or 14 bits, labels and boxes of several radiologists."""

from pathlib import Path
from typing import Any

import numpy as np

from cxrbench.phantom.cases import Case
from cxrbench.phantom.findings import FIBROSIS, NODULE, OPACITY
from cxrbench.phantom.layouts.dicom_files import write_raw
from cxrbench.phantom.layouts.tables import TableRows, write_csv

Box = tuple[int, int, int, int]  # x, y, width, height

LOCAL = ("Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Clavicle fracture",
               "Consolidation", "Edema", "Emphysema", "Enlarged PA", "ILD", "Infiltration", "Lung Opacity",
               "Lung cavity", "Lung cyst", "Mediastinal shift", "Nodule/Mass", "Pleural effusion", "Pleural thickening",
               "Pneumothorax", "Pulmonary fibrosis", "Rib fracture", "Other lesion")  # fmt: skip
GLOBAL = ("COPD", "Lung tumor", "Pneumonia", "Tuberculosis")
# VinDr also names the stronger and weaker forms of a finding; a form is drawn when its grade lies in the range.
FORMS = {"Consolidation": (OPACITY, 0.6, 1.0), "Infiltration": (OPACITY, 0.0, 0.25),
               "Pneumonia": (OPACITY, 0.45, 1.0), "Lung tumor": (NODULE, 0.65, 1.0),
               "ILD": (FIBROSIS, 0.6, 1.0)}  # fmt: skip


def vindr_image(folder: Path, case: Case) -> tuple[TableRows, TableRows]:
    """Write one VinDr image; returns its rows of ``image_labels_*`` and ``annotations_*``, one or three readers'."""
    train = case.part == "vindr_train"
    image = case.image()
    write_raw(case, image, folder / ("train" if train else "test") / f"{case.key.hex}.dicom")
    boxes: dict[str, list[Box]] = {}
    for finding in image.findings:
        forms = [k for k, (name, a, b) in FORMS.items() if name == finding.name and a <= finding.grade <= b]
        for name in (finding.name, *forms):
            boxes.setdefault(name, []).append(finding.box)
    if not train:
        return [_labels([case.key.hex], boxes)], _boxes([case.key.hex], boxes)
    rng = case.rng(3)
    labels, drawn = [], []
    readers = [f"R{r}" for r in sorted(rng.choice(17, 3, replace=False) + 1)]
    # At most one of the three dissents on a label, more often on a subtle finding: the majority is the truth.
    grade = {f.name: f.grade for f in image.findings}
    dissenter = {k: int(rng.integers(3)) for k in sorted(boxes) if rng.random() < 0.05 + 0.3 * (1 - grade.get(k, 0.5))}
    absent = [k for k in (*LOCAL, *GLOBAL) if k not in boxes]
    alarms, alarmist = [k for k in absent if rng.random() < 0.012], int(rng.integers(3))
    for r, reader in enumerate(readers):
        read = {k: [_jitter(b, image.shape, rng) for b in v] for k, v in boxes.items() if dissenter.get(k) != r}
        read |= {k: [_anywhere(image.shape, rng)] for k in alarms if r == alarmist}
        labels.append(_labels([case.key.hex, reader], read))
        drawn += _boxes([case.key.hex, reader], read)
    return labels, drawn


def _labels(keys: list[str], boxes: dict[str, Any]) -> list[Any]:
    """One row of labels: the local, the global, ``Other disease(s)`` and ``No finding``."""
    return [*keys, *(int(k in boxes) for k in (*LOCAL, *GLOBAL)), 0, int(not boxes)]


def _boxes(keys: list[str], boxes: dict[str, list[Box]]) -> TableRows:
    """Rows of ``annotations_*``: class and corners; global labels and ``No finding`` have no box."""
    rows: TableRows = []
    for name in sorted(boxes):
        if name in LOCAL:
            rows += [[*keys, name, x, y, x + w, y + h] for x, y, w, h in boxes[name]]
        else:
            rows.append([*keys, name, *[""] * 4])
    return rows or [[*keys, "No finding", *[""] * 4]]


def _jitter(box: Box, shape: tuple[int, ...], rng: np.random.Generator) -> Box:
    """A box as another reader would draw it: each side off by about 4% of the size."""
    x, y, w, h = box
    left, right, top, bottom = np.rint(rng.normal(0, 0.04, 4) * (w, w, h, h)).astype(int).tolist()
    x0, y0 = max(0, x + left), max(0, y + top)
    x1, y1 = min(shape[1], x + w + right), min(shape[0], y + h + bottom)
    return x0, y0, max(1, x1 - x0), max(1, y1 - y0)


def _anywhere(shape: tuple[int, ...], rng: np.random.Generator) -> Box:
    """The box of a false alarm."""
    w, h = (int(v) for v in rng.integers(15, 60, 2))
    x, y = rng.uniform(0.15, 0.6, 2) * (shape[1], shape[0])
    return int(x), int(y), w, h


def vindr_tables(folder: Path, part: str, records: list[tuple[TableRows, TableRows]]) -> None:
    """The two tables of one part; the name of the last disease is spelled as in the original: two ways."""
    train = part == "vindr_train"
    keys, other = (["image_id", "rad_id"], "Other diseases") if train else (["image_id"], "Other disease")
    tables, name = folder / "annotations", part.removeprefix("vindr_")
    tables.mkdir(exist_ok=True)
    header = [*keys, *LOCAL, *GLOBAL, other, "No finding"]
    write_csv(tables / f"image_labels_{name}.csv", header, (row for labels, _ in records for row in labels))
    header = [*keys, "class_name", "x_min", "y_min", "x_max", "y_max"]
    write_csv(tables / f"annotations_{name}.csv", header, (row for _, boxes in records for row in boxes))
