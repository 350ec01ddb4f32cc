"""Phantom images as the CXR-LT 2026 download: PNGs in one folder and a table of 30 classes, most of which are empty."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cxrbench.data.datasets.classification.cxr_lt import LABELS, TABLE
from cxrbench.phantom.cases import Case
from cxrbench.phantom.findings import (
    AORTA,
    CARDIOMEGALY,
    EFFUSION,
    FIBROSIS,
    NODULE,
    OPACITY,
    PNEUMOTHORAX,
    THICKENING,
)
from cxrbench.phantom.layouts.tables import write_csv
from cxrbench.phantom.study import gray

CLASSES = {
    OPACITY: "alveolar pattern", EFFUSION: "pleural effusion", CARDIOMEGALY: "cardiomegaly", NODULE: "Nodule",
    PNEUMOTHORAX: "Pneumothorax", THICKENING: "pleural thickening", AORTA: "aortic elongation",
    FIBROSIS: "interstitial pattern",
}  # fmt: skip


def cxr_lt_image(folder: Path, case: Case) -> list[Any]:
    """Write one image; returns its row of the table."""
    name = f"{case.key.int}_{case.key.hex[:6]}.png"
    (folder / "images").mkdir(exist_ok=True)
    gray(case.image().image).save(folder / "images" / name)
    found = {CLASSES[finding] for finding in case.grades} or {"Normal"}
    return [name, 20_150_101 + case.number % 28, case.key.int, *(int(label in found) for label in LABELS)]


def cxr_lt_tables(folder: Path, part: str, records: Sequence[list[Any]]) -> None:
    """The training table."""
    write_csv(folder / TABLE, ["ImageID", "StudyDate_DICOM", "PatientID", *LABELS], records)
