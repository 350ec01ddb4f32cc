"""Phantom studies as the SIIM-FISABIO-RSNA COVID-19 download: JPEG in DICOM, classes of studies, boxes of opacities."""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from cxrbench.data.datasets.detection.siim_fisabio import IMAGE, LABELS, STUDY
from cxrbench.phantom.cases import Case
from cxrbench.phantom.findings import EFFUSION, NODULE, OPACITY, PNEUMOTHORAX
from cxrbench.phantom.image import Radiograph
from cxrbench.phantom.layouts.dicom_files import write_jpeg
from cxrbench.phantom.layouts.tables import write_csv
from cxrbench.phantom.study import retake, retaken

NEGATIVE, TYPICAL, INDETERMINATE, ATYPICAL = LABELS
OPAQUE = 0.5  # share of studies that get an opacity beside what they have
TWO_IMAGES = 0.1  # share of studies; only the first has boxes, as in many of the original


class StudyRows(NamedTuple):
    """A study's row of ``train_study_level.csv`` and its images' rows of ``train_image_level.csv``."""

    study: list[object]
    images: list[list[object]]


def siim_fisabio_image(folder: Path, case: Case) -> StudyRows:
    """Write one study of one image, or two."""
    rng = case.rng(3)
    if rng.random() < OPAQUE:
        case = replace(case, grades={**case.grades, OPACITY: float(rng.beta(1.5, 1.3))})
    image = case.image()
    study, series, name, second = (uuid.uuid5(case.key, kind).hex[:12] for kind in ("study", "series", "one", "two"))
    place = folder / "train" / study / series
    write_jpeg(case, image, place / f"{name}.dcm")
    rows = [_row(name, study, [finding.box for finding in image.placed.of(OPACITY)])]
    if rng.random() < TWO_IMAGES:
        how = retake(rng, image.shape)
        again = replace(image, paint=lambda: retaken(image.image, how))
        write_jpeg(case, again, place / f"{second}.dcm")
        rows.append(_row(second, study, []))
    return StudyRows([f"{study}{STUDY}", *(int(name == _class(image)) for name in LABELS)], rows)


def siim_fisabio_tables(folder: Path, part: str, records: Sequence[StudyRows]) -> None:
    """``train_study_level.csv`` and ``train_image_level.csv``."""
    write_csv(folder / "train_study_level.csv", ["id", *LABELS], [record.study for record in records])
    header = ["id", "boxes", "label", "StudyInstanceUID"]
    write_csv(folder / "train_image_level.csv", header, (row for record in records for row in record.images))


def _row(name: str, study: str, boxes: Sequence[tuple[int, int, int, int]]) -> list[object]:
    """A row of the images' table: boxes as Python writes them, and again as the challenge wants answers."""
    dictionaries = [{"x": float(x), "y": float(y), "width": float(w), "height": float(h)} for x, y, w, h in boxes]
    answers = [f"opacity 1 {float(x)} {float(y)} {float(x + w)} {float(y + h)}" for x, y, w, h in boxes]
    return [f"{name}{IMAGE}", dictionaries or "", " ".join(answers) or "none 1 0 0 1 1", study]


def _class(image: Radiograph) -> str:
    """Opacities on both sides are typical, on one side indeterminate; other findings in the chest are atypical."""
    width = image.shape[1]
    sides = {finding.box[0] + finding.box[2] / 2 < width / 2 for finding in image.placed.of(OPACITY)}
    if sides:
        return TYPICAL if len(sides) == 2 else INDETERMINATE
    return ATYPICAL if any(image.placed.of(name) for name in (EFFUSION, NODULE, PNEUMOTHORAX)) else NEGATIVE
