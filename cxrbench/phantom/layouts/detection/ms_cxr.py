"""Phantom studies as the MS-CXR download: frontal images of the phantom's MIMIC, with boxes and phrases on them.

A case is the phantom MIMIC's of the same number: the same patient, the same file.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cxrbench.phantom.cases import Case, case
from cxrbench.phantom.findings import CARDIOMEGALY, EFFUSION, OPACITY, PNEUMOTHORAX
from cxrbench.phantom.layouts.mimic import SPLITS, names_of, place_of
from cxrbench.phantom.layouts.tables import TableRows, write_csv
from cxrbench.phantom.reports import seen
from cxrbench.phantom.sentences import tell
from cxrbench.phantom.study import gray, study_of

CATEGORIES = {EFFUSION: "Pleural Effusion", CARDIOMEGALY: "Cardiomegaly", PNEUMOTHORAX: "Pneumothorax"}
OPACITIES = ((0.35, "Lung Opacity"), (0.65, "Pneumonia"), (1.0, "Consolidation"))  # up to which grade
SPLIT_NAMES = {"train": "train", "validate": "val", "test": "test"}
HEADER = ["dicom_id", "category_name", "label_text", "path", "x", "y", "w", "h", "image_width", "image_height", "split"]


def ms_cxr_image(folder: Path, wanted: Case) -> TableRows:
    """Write the first frontal image of a study, if something on it has a phrase; returns a row of each box."""
    of = replace(case("mimic", wanted.seed, wanted.number), blank=wanted.blank)
    visit, rng = study_of(of), wanted.rng(3)
    shot, name = visit.shots[0], names_of(of, len(visit.shots))[0]
    if shot.view == "L":
        return []
    path = f"{place_of(of)}/{name}.jpg"
    height, width = shot.shape
    rows: TableRows = []
    for entry in seen(visit.findings):
        if (category := _category(entry.name, entry.grade)) is None:
            continue
        phrase = tell(entry, rng)[0].text
        boxes = [finding.box for finding in visit.findings if finding.name == entry.name]
        split = SPLIT_NAMES[SPLITS[of.number % 20]]
        rows += [[name, category, phrase, path, *box, width, height, split] for box in boxes]
    if rows:
        (folder / place_of(of)).mkdir(parents=True, exist_ok=True)
        gray(shot.image).save(folder / path, "JPEG", quality=92)
    return rows


def ms_cxr_tables(folder: Path, part: str, records: Sequence[TableRows]) -> None:
    """``MS_CXR_Local_Alignment_v1.1.0.csv``."""
    rows = [row for record in records for row in record]
    write_csv(folder / "MS_CXR_Local_Alignment_v1.1.0.csv", HEADER, rows)


def _category(finding: str, grade: float) -> str | None:
    """What MS-CXR calls a finding, which has no name for some."""
    if finding == OPACITY:
        return next(name for highest, name in OPACITIES if grade <= highest)
    return CATEGORIES.get(finding)
