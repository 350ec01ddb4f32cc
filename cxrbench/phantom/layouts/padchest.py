"""Phantom studies as the PadChest download: PNGs of 16 bits in numbered folders, one table of terms and reports.

The reports are English, unlike PadChest's: the sentence encoder at hand reads no Spanish.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image

from cxrbench.data.datasets.padchest import TABLES
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
from cxrbench.phantom.grids import Grid
from cxrbench.phantom.layouts.tables import TableRows, write_csv
from cxrbench.phantom.sentences import pick
from cxrbench.phantom.study import Study, number, study_of

FOLDERS = 4
# What annotators call a finding up to a grade; the last word has no limit.
WORDS = {
    OPACITY: ((0.33, "infiltrates"), (0.67, "alveolar pattern"), (1.0, "pneumonia")),
    EFFUSION: ((1.0, "pleural effusion"),),
    CARDIOMEGALY: ((1.0, "cardiomegaly"),),
    PNEUMOTHORAX: ((1.0, "pneumothorax"),),
    NODULE: ((0.65, "nodule"), (1.0, "pulmonary mass")),
    THICKENING: ((0.5, "apical pleural thickening"), (1.0, "pleural thickening")),
    AORTA: ((1.0, "superior mediastinal enlargement"),),
    FIBROSIS: ((1.0, "pulmonary fibrosis"),),
}
HEADER = ["", "ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth", "PatientSex_DICOM",
          "Projection", "MethodProjection", "PhotometricInterpretation_DICOM", "BitsStored_DICOM", "ReportID", "Report",
          "MethodLabel", "Labels"]  # fmt: skip


def padchest_image(folder: Path, case: Case) -> TableRows:
    """Write one study's images; returns their rows of the table, without the running number."""
    visit, rng = study_of(case), case.rng(5)
    study, patient, place = f"{number(case, 10**11)}", f"{number(case, 10**12)}", str(case.number % FOLDERS)
    (folder / place).mkdir(exist_ok=True)
    report = " ".join(re.findall(r"[a-z0-9-]+|\.", f"{visit.report.findings} {visit.report.impression}".lower()))
    terms, rows = _terms(visit, rng), []
    for count, shot in enumerate(visit.shots):
        name, bits = f"{study}_{rng.bytes(3).hex()}.png", int(rng.choice([12, 14, 16]))
        write_deep(folder / place / name, shot.image, bits)
        view = "L" if shot.view == "L" else "AP_horizontal" if shot.view == "AP" and count % 2 == 0 else shot.view
        rows.append([name, place, 20_150_101 + case.number % 28, study, patient, 2015 - case.age, case.sex, view,
                     "Manual review of DICOM fields", "MONOCHROME2", bits, case.number, report, "Physician",
                     terms])  # fmt: skip
    return rows


def write_deep(path: Path, image: Grid, bits: int) -> None:
    """An image as a PNG of 16 bits that uses ``bits`` of them: white is 2^bits - 1."""
    Image.fromarray(np.rint(image * (2**bits - 1)).astype(np.uint16)).save(path)


def padchest_tables(folder: Path, part: str, records: Sequence[TableRows]) -> None:
    """The one table; its first column is a running number without a name."""
    rows = [row for rows in records for row in rows]
    write_csv(folder / TABLES[0], HEADER, ([count, *row] for count, row in enumerate(rows)))


def _terms(visit: Study, rng: Generator) -> str:
    """The annotators' list as text, with the original's stray blanks; a few studies have none or are excluded."""
    chance = rng.random()
    if chance < 0.02:
        return "" if chance < 0.01 else "['exclude']"
    grades = {finding.name: finding.grade for finding in visit.findings}
    terms = [next(word for most, word in WORDS[name] if grade <= most) for name, grade in grades.items()]
    terms += [pick(rng, ("pacemaker", "dual chamber device"))] if visit.device else []
    return str([f"{' ' * int(rng.random() < 0.15)}{term}" for term in terms or ["normal"]])
