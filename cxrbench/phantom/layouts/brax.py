"""Phantom studies as the BRAX download: 8-bit PNGs by patient, study and series, and one spreadsheet."""

from collections.abc import Sequence
from pathlib import Path

from cxrbench.data.datasets.brax import TABLES
from cxrbench.data.datasets.chexpert import LABELS
from cxrbench.phantom.cases import Case
from cxrbench.phantom.layouts.tables import TableRows, write_csv
from cxrbench.phantom.study import gray, marks_of, number, study_of

HEADER = ["DicomPath", "PngPath", "PatientID", "PatientSex", "PatientAge", "AccessionNumber", "StudyDate", *LABELS,
          "ViewPosition", "Rows", "Columns", "Manufacturer"]  # fmt: skip


def brax_image(folder: Path, case: Case) -> TableRows:
    """Write one study's images, each a series of its own; returns their rows of the spreadsheet."""
    visit, rng = study_of(case), case.rng(5)
    patient, accession = f"id_{case.key.hex}", f"{number(case, 10**8)}"
    marks, rows = marks_of(visit.report, LABELS), []
    for shot in visit.shots:
        place = f"{patient}/Study_{accession}/Series_{int(rng.integers(10**4, 10**5))}"
        name = f"image-{'-'.join(rng.bytes(4).hex() for _ in range(5))}"
        (folder / "images" / place).mkdir(parents=True)
        gray(shot.image).save(folder / "images" / place / f"{name}.png")
        rows.append([f"Anonymized_DICOMs/{place}/{name}.dcm", f"images/{place}/{name}.png", patient, case.sex, case.age,
                     accession, 20_150_101 + case.number % 28, *marks, shot.view if shot.position else "",
                     *shot.shape, "phantom"])  # fmt: skip
    return rows


def brax_tables(folder: Path, part: str, records: Sequence[TableRows]) -> None:
    """The spreadsheet."""
    write_csv(folder / TABLES[0], HEADER, (row for rows in records for row in rows))
