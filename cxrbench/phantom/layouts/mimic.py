"""Phantom studies as the MIMIC-CXR-JPG download: JPEGs of several views, reports, and three tables."""

from collections.abc import Sequence
from pathlib import Path

from cxrbench.data.datasets.mimic import LABELS
from cxrbench.phantom.cases import Case
from cxrbench.phantom.layouts.tables import TableRows, write_csv
from cxrbench.phantom.study import gray, marks_of, number, study_of

# What each of 20 consecutive cases is; the official validation set is far smaller than a phantom could use.
SPLITS = ("train",) * 12 + ("validate",) * 3 + ("test",) * 5


def mimic_image(folder: Path, case: Case) -> tuple[TableRows, list[object]]:
    """Write one study's images and report; returns its rows of the metadata table and its row of the CheXpert table."""
    visit = study_of(case)
    patient, study = number(case, 10_000_000), number(case, 50_000_000)
    place = folder / place_of(case)
    place.mkdir(parents=True, exist_ok=True)
    rows = []
    for shot, name in zip(visit.shots, names_of(case, len(visit.shots)), strict=True):
        gray(shot.image).save(place / f"{name}.jpg", "JPEG", quality=92)
        rows.append([name, patient, study, shot.position, *shot.shape, SPLITS[case.number % 20]])
    place.with_suffix(".txt").write_text(visit.text, encoding="utf-8")
    return rows, [patient, study, *marks_of(visit.report, LABELS)]


def place_of(case: Case) -> str:
    """The folder of a case's images: ``files/p10/p10000032/s50414267``."""
    patient, study = number(case, 10_000_000), number(case, 50_000_000)
    return f"files/p{str(patient)[:2]}/p{patient}/s{study}"


def names_of(case: Case, count: int) -> list[str]:
    """The names of a case's images, without their ending."""
    rng = case.rng(5)
    return ["-".join(rng.bytes(4).hex() for _ in range(5)) for _ in range(count)]


def mimic_tables(folder: Path, part: str, records: Sequence[tuple[TableRows, list[object]]]) -> None:
    """The metadata, split and CheXpert tables."""
    images = [row for rows, _ in records for row in rows]
    header = ["dicom_id", "subject_id", "study_id", "ViewPosition", "Rows", "Columns"]
    write_csv(folder / "mimic-cxr-2.0.0-metadata.csv", header, (row[:6] for row in images))
    header = ["dicom_id", "study_id", "subject_id", "split"]
    write_csv(folder / "mimic-cxr-2.0.0-split.csv", header, ([row[0], row[2], row[1], row[6]] for row in images))
    header = ["subject_id", "study_id", *LABELS]
    write_csv(folder / "mimic-cxr-2.0.0-chexpert.csv", header, (marks for _, marks in records))
