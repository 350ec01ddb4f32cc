"""Phantom images as the RSNA Pneumonia download: JPEG in DICOM, one table of boxes and one of classes."""

from pathlib import Path

from cxrbench.phantom.cases import Case
from cxrbench.phantom.findings import OPACITY
from cxrbench.phantom.layouts.dicom_files import write_jpeg
from cxrbench.phantom.layouts.tables import TableRows, write_csv


def rsna_image(folder: Path, case: Case) -> tuple[TableRows, TableRows]:
    """Write one RSNA image; returns its rows of the label table (one per box) and of the class table."""
    image = case.image()
    name = str(case.key)
    write_jpeg(case, image, folder / "stage_2_train_images" / f"{name}.dcm")
    boxes = [finding.box for finding in image.placed.of(OPACITY)]
    kind = "Lung Opacity" if boxes else "No Lung Opacity / Not Normal" if image.placed.any() else "Normal"
    labels = [[name, *(float(v) for v in box), 1] for box in boxes] or [[name, "", "", "", "", 0]]
    return labels, [[name, kind]] * len(labels)


def rsna_tables(folder: Path, part: str, records: list[tuple[TableRows, TableRows]]) -> None:
    """``stage_2_train_labels.csv`` and ``stage_2_detailed_class_info.csv``."""
    header = ["patientId", "x", "y", "width", "height", "Target"]
    write_csv(folder / "stage_2_train_labels.csv", header, (row for labels, _ in records for row in labels))
    write_csv(
        folder / "stage_2_detailed_class_info.csv",
        ["patientId", "class"],
        (row for _, kinds in records for row in kinds),
    )
