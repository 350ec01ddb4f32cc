"""Phantom studies as Kaggle's copy of IU X-ray: PNGs of several views, a table of reports and one of projections."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cxrbench.data.datasets.classification.iu_xray import PROJECTIONS, REPORTS
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
from cxrbench.phantom.layouts.tables import TableRows, write_csv
from cxrbench.phantom.study import gray, study_of

MESH = {
    OPACITY: "Opacity/lung", EFFUSION: "Pleural Effusion", CARDIOMEGALY: "Cardiomegaly", PNEUMOTHORAX: "Pneumothorax",
    NODULE: "Nodule/lung", THICKENING: "Thickening/pleura", AORTA: "Aorta/tortuous", FIBROSIS: "Pulmonary Fibrosis",
}  # fmt: skip
FOLDER = "images/images_normalized"
HEADER = ["uid", "MeSH", "Problems", "image", "indication", "comparison", "findings", "impression"]


def iu_xray_image(folder: Path, case: Case) -> tuple[list[Any], TableRows]:
    """Write one study's images; returns its row of the reports and their rows of the projections."""
    visit, uid = study_of(case), case.number + 1
    terms = [MESH[name] for name in dict.fromkeys(finding.name for finding in visit.findings)] or ["normal"]
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    rows: TableRows = []
    for count, shot in enumerate(visit.shots, 1):
        name = f"{uid}_IM-{uid:04d}-{count}001.dcm.png"
        gray(shot.image).save(folder / FOLDER / name)
        rows.append([uid, name, "Lateral" if shot.view == "L" else "Frontal"])
    heads = ";".join(term.partition("/")[0] for term in terms)
    report = [uid, ";".join(terms), heads, "Xray Chest PA and Lateral", "XXXX", "None."]
    return [*report, visit.report.findings, visit.report.impression], rows


def iu_xray_tables(folder: Path, part: str, records: Sequence[tuple[list[Any], TableRows]]) -> None:
    """Both tables."""
    write_csv(folder / REPORTS, HEADER, (report for report, _ in records))
    write_csv(folder / PROJECTIONS, ["uid", "filename", "projection"], (row for _, rows in records for row in rows))
