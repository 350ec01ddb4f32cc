"""MIMIC-CXR-JPG: 377,110 radiographs of 227,827 studies with CheXpert labels, and MIMIC-CXR's reports.

Johnson et al., Scientific Data 6:317, 2019 (reports); arXiv:1901.07042 (JPG).
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cxrbench.data.datasets.layout import Layout, image_table, subset_note
from cxrbench.data.manifest import Dataset, Manifest
from cxrbench.data.report_text import sections
from cxrbench.data.splits import shared_patients
from cxrbench.data.tables import Table, first_repeated, identifier
from cxrbench.files.names import plain, some

TITLE = "MIMIC-CXR-JPG"
SOURCE = "https://physionet.org/content/mimic-cxr-jpg/ (reports: https://physionet.org/content/mimic-cxr/)"
LICENCE = "PhysioNet Credentialed Health Data License 1.5.0: training and a signed agreement; no redistribution"
LINEAGE = ("mimic",)
OFFICIAL = 377_110
LABELS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture", "Lung Lesion",
    "Lung Opacity", "No Finding", "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices",
)  # fmt: skip
VIEWS = {"PA": "PA", "AP": "AP", "LATERAL": "L", "LL": "L"}
SPLIT_NAMES = {"train": "train", "validate": "val", "test": "test"}
CELLS = {"1.0": 1.0, "1": 1.0, "0.0": 0.0, "0": 0.0, "": 0.0, "-1.0": np.nan, "-1": np.nan}
POLICY = "Labels: 1 is positive; 0 and blank (not mentioned) are negative; -1 (uncertain) is unknown."


def read(root: Path) -> Manifest:
    """Read ``mimic-cxr-2.0.0-{metadata,split,chexpert}.csv`` (or ``.csv.gz``) and ``files/p10/p10000032/s50414267/``.

    One row per image; the official split, whose ``validate`` is our ``val``. Labels are CheXpert's on the study's
    report, the same for all its images: 1 positive, 0 and blank negative, -1 unknown; unknown altogether for a study
    that the table lacks. Reports are the files ``s50414267.txt`` of MIMIC-CXR in the same tree or below ``reports/``;
    without them the manifest has none, and a note says so.
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    metadata, where = _table(layout, "metadata", ("dicom_id", "subject_id", "study_id", "ViewPosition"))
    ids = metadata["dicom_id"]
    layout.unique(ids, where)
    files = layout.files(("files",), (".jpg", ".jpeg", ".png"))
    layout.require(ids, files, where)
    splits = _splits(layout, ids)
    if shared := shared_patients(metadata["subject_id"], splits):
        raise layout.error(f"the split puts {len(shared):,} patient(s) in two splits: {some(shared)}")
    targets, unlabelled = _targets(layout, metadata["study_id"])
    images = image_table(
        ids, files, patients=metadata["subject_id"], splits=splits, labels=LABELS, targets=targets,
        views=[VIEWS.get(view.upper(), "") for view in metadata["ViewPosition"]],
    )  # fmt: skip
    images["study_id"] = metadata["study_id"]
    reports, note = _reports(root, metadata)
    return Manifest(
        name="mimic",
        root=root,
        images=images,
        labels=LABELS,
        reports=reports,
        lineage=LINEAGE,
        source=SOURCE,
        licence=LICENCE,
        notes=(
            POLICY,
            *([f"{unlabelled:,} studies are not in the CheXpert table: their labels are unknown."] * (unlabelled > 0)),
            _views(images["view"].tolist()),
            note,
            *subset_note(len(ids), OFFICIAL, "images"),
        ),
    )


def _table(layout: Layout, name: str, columns: Sequence[str]) -> tuple[Table, str]:
    """One of the official tables, gzipped or not, and its file name."""
    path = layout.first(*(f"mimic-cxr-2.{minor}.0-{name}.csv{end}" for minor in (0, 1) for end in ("", ".gz")))
    table = layout.table(path, columns)
    for name in ("subject_id", "study_id"):  # 50414267.0 where a spreadsheet or pandas has been at the table
        if name in table:
            table[name] = [identifier(cell) for cell in table[name]]
            if odd := next((cell for cell in table[name] if not cell.isdigit()), None):
                raise layout.error(f"{path.name} has the {name} {plain(odd)!r}, which is no number")
    return table, path.name


def _splits(layout: Layout, ids: Sequence[str]) -> list[str]:
    """Split of each image from the official table, which may hold more images than there are."""
    table, where = _table(layout, "split", ("dicom_id", "split"))
    named = dict(zip(table["dicom_id"], table["split"], strict=True))
    if absent := [name for name in ids if name not in named]:
        raise layout.error(f"{where} lacks {len(absent):,} image(s): {some(absent)}")
    if unknown := sorted(set(table["split"]) - set(SPLIT_NAMES)):
        raise layout.error(f"{where} has the unknown split {plain(unknown[0])!r}")
    return [SPLIT_NAMES[named[name]] for name in ids]


def _targets(layout: Layout, studies: Sequence[str]) -> tuple[np.ndarray, int]:
    """CheXpert's labels [images, 14] of each image's study, and how many studies have none."""
    table, where = _table(layout, "chexpert", ("study_id", *LABELS))
    cells = {cell for name in LABELS for cell in table[name]}
    if unknown := sorted(cells - set(CELLS)):
        raise layout.error(f"{where} has the label value {plain(unknown[0])!r}; known are 1, 0, -1 and blank")
    values = np.array([[CELLS[cell] for cell in table[name]] for name in LABELS], np.float32)
    if twice := first_repeated(table["study_id"]):
        raise layout.error(f"{where} has study {twice[0]} twice")
    row_of = {study: row for row, study in enumerate(table["study_id"])}
    values = np.concatenate([values, np.full((len(LABELS), 1), np.nan, np.float32)], axis=1)
    rows = [row_of.get(study, -1) for study in studies]
    return values[:, rows].T, len({study for study in studies if study not in row_of})


def _reports(root: Path, metadata: Table) -> tuple[pd.DataFrame | None, str]:
    """The reports of the studies that have one, and a note on them."""
    patients = dict(zip(metadata["study_id"], metadata["subject_id"], strict=True))
    rows = []
    for study, patient in sorted(patients.items()):
        name = f"files/p{patient[:2]}/p{patient}/s{study}.txt"
        report = _text(f"{root}/{name}")
        report = _text(f"{root}/reports/{name}") if report is None else report
        if report is not None:
            rows.append((study, *sections(report)))
    if not rows:
        return (
            None,
            "No reports: put MIMIC-CXR's files/ (the .txt of each study) into the same tree, or below reports/.",
        )
    table = pd.DataFrame(rows, columns=["study_id", "findings", "impression"])
    return table, f"{len(rows):,} of {len(patients):,} studies have a report."


def _text(path: str) -> str | None:
    """A report, or None where there is none. Opened by name at once: a question first would double the waiting."""
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _views(views: Sequence[str]) -> str:
    counts = Counter(views)
    return "Views: " + ", ".join(f"{counts[v]:,} {v or 'other'}" for v in ("PA", "AP", "L", "") if counts[v]) + "."


DATASET = Dataset("mimic", TITLE, SOURCE, LICENCE, read, lineage=LINEAGE, patients="mimic")
