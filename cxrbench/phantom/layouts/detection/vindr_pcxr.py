"""Phantom images as the VinDr-PCXR download: DICOM, one reader's labels of diseases, and boxes of findings."""

from collections.abc import Sequence
from pathlib import Path

from cxrbench.data.datasets.detection.vindr_pcxr import DISEASES, NONE
from cxrbench.phantom.cases import Case
from cxrbench.phantom.findings import AORTA, CARDIOMEGALY, EFFUSION, FIBROSIS, NODULE, OPACITY, PNEUMOTHORAX, THICKENING
from cxrbench.phantom.layouts.dicom_files import write_raw
from cxrbench.phantom.layouts.tables import TableRows, write_csv

NAMES = {
    OPACITY: "Other opacity", EFFUSION: "Pleural effusion", CARDIOMEGALY: "Cardiomegaly", PNEUMOTHORAX: "Pneumothorax",
    NODULE: "Other nodule/mass", THICKENING: "Pleural thickening", AORTA: "Aortic enlargement",
    FIBROSIS: "Reticulonodular opacity",
}  # fmt: skip
OPACITIES = ((0.35, "Bronchiolitis"), (0.65, "Brocho-pneumonia"), (1.0, "Pneumonia"))  # up to which grade
UNLABELLED = 0.03  # share of images with findings that have no disease, as some have in the original
READERS = ("R1", "R2", "R3")


def vindr_pcxr_image(folder: Path, case: Case) -> tuple[list[object], TableRows]:
    """Write one image; returns its row of ``image_labels_*`` and its rows of ``annotations_*``."""
    image, rng = case.image(), case.rng(3)
    name, reader = case.key.hex, READERS[int(rng.integers(3))]
    write_raw(case, image, folder / case.part.removeprefix("vindr-pcxr_") / f"{name}.dicom")
    boxes: TableRows = []
    for finding in image.findings:
        x, y, w, h = finding.box
        boxes.append([name, reader, NAMES[finding.name], x, y, x + w, y + h])
    grades = {finding.name: finding.grade for finding in image.findings}
    diseases = set() if grades and rng.random() < UNLABELLED else _diseases(grades)
    labels = [name, reader, *(int(disease in diseases) for disease in DISEASES)]
    return labels, boxes or [[name, reader, NONE, *[""] * 4]]


def vindr_pcxr_tables(folder: Path, part: str, records: Sequence[tuple[list[object], TableRows]]) -> None:
    """The two tables of a part, beside the folders of images."""
    name = part.removeprefix("vindr-pcxr_")
    write_csv(folder / f"image_labels_{name}.csv", ["image_id", "rad_ID", *DISEASES], [labels for labels, _ in records])
    header = ["image_id", "rad_ID", "class_name", "x_min", "y_min", "x_max", "y_max"]
    write_csv(folder / f"annotations_{name}.csv", header, (row for _, boxes in records for row in boxes))


def _diseases(grades: dict[str, float]) -> set[str]:
    """What a reader concludes from the findings."""
    if not grades:
        return {NONE}
    found = set()
    if OPACITY in grades:
        found.add(next(name for highest, name in OPACITIES if grades[OPACITY] <= highest))
    if FIBROSIS in grades:
        found.add("Bronchitis")
    return found or {"Other disease"}
