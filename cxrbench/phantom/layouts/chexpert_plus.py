"""The phantom's CheXpert Plus: the same images as the phantom's CheXpert, whole and as PNG, with their reports."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cxrbench.data.datasets.chexpert import LABELS
from cxrbench.data.datasets.chexpert_plus import LABEL_FILES, TABLE
from cxrbench.phantom.cases import Case, case
from cxrbench.phantom.layouts.chexpert import place_of
from cxrbench.phantom.layouts.tables import TableRows, write_csv
from cxrbench.phantom.study import gray, study_of

ONLY_IMPRESSION = 0.3  # share of reports without a section of findings
HEADER = ["path_to_image", "path_to_dcm", "frontal_lateral", "ap_pa", "deid_patient_id", "patient_report_date_order",
          "age", "sex", "race", "ethnicity", "split", "report", "section_findings", "section_impression"]  # fmt: skip


def chexpert_plus_image(folder: Path, numbered: Case) -> TableRows:
    """Write the images of the CheXpert study of that number; returns their rows of the table, each with its labels."""
    twin = replace(case("chexpert", numbered.seed, numbered.number), blank=numbered.blank)
    visit, place = study_of(twin), place_of(twin)
    (folder / "PNG" / place).mkdir(parents=True)
    said = visit.report
    findings = "" if twin.rng(7).random() < ONLY_IMPRESSION else said.findings
    text = f"NARRATIVE:\n{f'FINDINGS: {findings}' if findings else ''}\nIMPRESSION:\n\n{said.impression}\n"
    split, patient, _ = place.split("/")
    sex = "Female" if twin.sex == "F" else "Male"
    labels = {name: None if name not in said.labels else float(said.labels[name]) for name in LABELS}
    rows: TableRows = []
    for count, shot in enumerate(visit.shots, 1):
        side = "lateral" if shot.view == "L" else "frontal"
        name = f"{place}/view{count}_{side}"
        gray(shot.image).save(folder / "PNG" / f"{name}.png")
        row = [f"{name}.jpg", f"{name}.dcm", side.capitalize(), "" if shot.view == "L" else shot.view, patient, 1,
               twin.age, sex, "", "", split, text, findings, said.impression]  # fmt: skip
        rows.append([*row, labels])
    return rows


def chexpert_plus_tables(folder: Path, part: str, records: Sequence[TableRows]) -> None:
    """The table of images and reports, and CheXbert's labels of whole reports as JSON lines."""
    rows = [row for rows in records for row in rows]
    write_csv(folder / TABLE, HEADER, (row[:-1] for row in rows))
    (folder / "chexbert_labels").mkdir()
    lines = (json.dumps({"path_to_image": row[0], **row[-1]}) + "\n" for row in rows)
    (folder / "chexbert_labels" / LABEL_FILES[0]).write_text("".join(lines), encoding="utf-8")
