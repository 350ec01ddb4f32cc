"""Phantom images as NIH's ChestX-ray14 download: PNGs in one folder, a table of findings, the two official lists."""

from collections.abc import Sequence
from pathlib import Path

from cxrbench.data.datasets.nih import NEGATIVE
from cxrbench.phantom.cases import Case
from cxrbench.phantom.findings import (
    CARDIOMEGALY,
    EFFUSION,
    FIBROSIS,
    NODULE,
    OPACITY,
    PNEUMOTHORAX,
    THICKENING,
)
from cxrbench.phantom.layouts.tables import TableRows, write_csv
from cxrbench.phantom.study import gray

TESTED = 0.3  # share of patients on the official test list
WORDS = {
    OPACITY: ("Atelectasis", "Consolidation", "Edema", "Infiltration", "Pneumonia"),
    EFFUSION: ("Effusion",),
    CARDIOMEGALY: ("Cardiomegaly",),
    PNEUMOTHORAX: ("Pneumothorax",),
    NODULE: ("Nodule", "Mass"),
    THICKENING: ("Pleural_Thickening",),
    FIBROSIS: ("Fibrosis",),
}
"""What a finding is called; where there are several words, the mildest grade has the first. No hernia is drawn, and no
emphysema."""
HEADER = ["Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender",
          "View Position", "OriginalImage[Width", "Height]", "OriginalImagePixelSpacing[x", "y]"]  # fmt: skip


def nih_image(folder: Path, case: Case) -> TableRows:
    """Write one image, a patient's only one; returns its row of the table."""
    (folder / "images").mkdir(exist_ok=True)
    image, patient = case.image(), case.number + 1
    name = f"{patient:08d}_000.png"
    gray(image.image).save(folder / "images" / name)
    found = [_word(WORDS[finding], grade) for finding, grade in case.grades.items() if finding in WORDS]
    height, width = case.shape
    view = "AP" if case.rng(5).random() < 0.4 else "PA"
    return [[name, "|".join(sorted(found)) or NEGATIVE, 0, patient, case.age, case.sex, view, width, height, 0.143,
             0.143]]  # fmt: skip


def nih_tables(folder: Path, part: str, records: Sequence[TableRows]) -> None:
    """The table, and the lists of images that are tested and that are not."""
    rows = [row for rows in records for row in rows]
    write_csv(folder / "Data_Entry_2017_v2020.csv", HEADER, rows)
    first = round(len(rows) * (1 - TESTED))
    for name, of in (("train_val_list.txt", rows[:first]), ("test_list.txt", rows[first:])):
        (folder / name).write_text("\n".join(str(row[0]) for row in of) + "\n", encoding="utf-8")


def _word(words: Sequence[str], grade: float) -> str:
    """One of several words, by the grade in [0, 1]."""
    return words[min(int(grade * len(words)), len(words) - 1)]
