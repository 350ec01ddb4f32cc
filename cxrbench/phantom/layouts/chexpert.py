"""Phantom studies as the CheXpert-v1.0-small download: JPEGs by patient and study, ``train.csv`` and ``valid.csv``."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from cxrbench.data.datasets.chexpert import LABELS
from cxrbench.phantom.cases import Case
from cxrbench.phantom.layouts.tables import TableRows, write_csv
from cxrbench.phantom.study import gray, marks_of, study_of

FOLDER = "CheXpert-v1.0-small"
SHORT = 192  # pixels of an image's shorter side; the original's small version has 320
# What each of 20 consecutive cases is; the official validation set is far smaller than a phantom could use.
PARTS = ("train",) * 15 + ("valid",) * 5
HEADER = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *LABELS]


def place_of(case: Case) -> str:
    """The folder of a case's study: ``train/patient00001/study1``; each patient has one."""
    return f"{PARTS[case.number % 20]}/patient{case.number + 1:05d}/study1"


def chexpert_image(folder: Path, case: Case) -> TableRows:
    """Write one study's images; returns their rows of the table.

    The validation set has what radiologists see, so nothing there is uncertain or blank: a doubt counts as positive.
    """
    visit, place = study_of(case), f"{FOLDER}/{place_of(case)}"
    marks = marks_of(visit.report, LABELS)
    if place_of(case).startswith("valid"):
        marks = ["1.0" if mark in ("1.0", "-1.0") else "0.0" for mark in marks]
    (folder / place).mkdir(parents=True)
    rows: TableRows = []
    for count, shot in enumerate(visit.shots, 1):
        side = "lateral" if shot.view == "L" else "frontal"
        name = f"{place}/view{count}_{side}.jpg"
        image = gray(shot.image)
        scale = SHORT / min(image.size)
        small = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
        small.save(folder / name, "JPEG", quality=92)
        projection = "" if shot.view == "L" else shot.view
        sex = "Female" if case.sex == "F" else "Male"
        rows.append([name, sex, case.age, side.capitalize(), projection, *marks])
    return rows


def chexpert_tables(folder: Path, part: str, records: Sequence[TableRows]) -> None:
    """``train.csv`` and ``valid.csv``."""
    for split in ("train", "valid"):
        rows = [row for rows in records for row in rows if f"/{split}/" in row[0]]
        write_csv(folder / FOLDER / f"{split}.csv", HEADER, rows)
