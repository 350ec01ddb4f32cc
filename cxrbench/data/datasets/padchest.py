"""PadChest: 160,868 radiographs of 67,625 patients with Spanish reports and 193 terms. Bustos et al., MedIA 2020."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrbench.data.attributes import with_attributes
from cxrbench.data.datasets.layout import Layout, image_table, subset_note
from cxrbench.data.manifest import SPLITS, Dataset, Manifest
from cxrbench.data.splits import by_patient
from cxrbench.data.tables import Table, identifier, is_empty
from cxrbench.files.names import plain, some

TITLE = "PadChest"
SOURCE = "https://bimcv.cipf.es/bimcv-projects/padchest/"
LICENCE = "PadChest Dataset Research Use Agreement (BIMCV): non-commercial research, no redistribution"
LINEAGE = ("padchest",)
OFFICIAL = 160_868
TABLES = ("PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv", "PADCHEST_chest_x_ray_images_labels_160K.csv")
COLUMNS = ("ImageID", "ImageDir", "StudyID", "PatientID", "Projection", "Labels", "Report")
FRACTIONS = {"train": 0.7, "val": 0.1, "test": 0.2}
VIEWS = {"PA": "PA", "L": "L", "AP": "AP", "AP_horizontal": "AP"}
# PadChest's terms under CheXpert's names. A term that names the finding or a kind of it counts; one that only goes
# with it (costophrenic angle blunting, volume loss, hilar congestion) does not. Terms of other things are left out.
TERMS: Mapping[str, tuple[str, ...]] = {
    "No Finding": ("normal",),
    "Enlarged Cardiomediastinum": ("mediastinal enlargement", "superior mediastinal enlargement"),
    "Cardiomegaly": ("cardiomegaly",),
    "Lung Opacity": (
        "infiltrates", "alveolar pattern", "interstitial pattern", "ground glass pattern", "miliary opacities",
        "reticulonodular interstitial pattern", "reticular interstitial pattern", "increased density", "consolidation",
    ),
    "Lung Lesion": ("nodule", "multiple nodules", "pulmonary mass", "lung metastasis"),
    "Edema": ("pulmonary edema",),
    "Consolidation": ("consolidation", "air bronchogram"),
    "Pneumonia": ("pneumonia", "atypical pneumonia"),
    "Atelectasis": (
        "atelectasis", "laminar atelectasis", "lobar atelectasis", "segmental atelectasis", "total atelectasis",
        "round atelectasis", "atelectasis basal",
    ),
    "Pneumothorax": ("pneumothorax", "hydropneumothorax"),
    "Pleural Effusion": (
        "pleural effusion", "loculated pleural effusion", "loculated fissural effusion", "hydropneumothorax",
    ),
    "Pleural Other": (
        "pleural thickening", "apical pleural thickening", "calcified pleural thickening", "pleural plaques",
        "calcified pleural plaques", "pleural mass",
    ),
    "Fracture": ("fracture", "rib fracture", "clavicle fracture", "vertebral fracture", "humeral fracture"),
    "Support Devices": (
        "electrical device", "pacemaker", "dual chamber device", "single chamber device", "dai", "endotracheal tube",
        "nsg tube", "tracheostomy tube", "chest drain tube", "ventriculoperitoneal drain tube", "gastrostomy tube",
        "nephrostomy tube", "catheter", "central venous catheter", "central venous catheter via jugular vein",
        "central venous catheter via subclavian vein", "central venous catheter via umbilical vein",
        "reservoir central venous catheter", "artificial heart valve", "artificial mitral heart valve",
        "artificial aortic heart valve",
    ),
}  # fmt: skip
LABELS = tuple(TERMS)
EXCLUDED = "exclude"  # what the annotators wrote where nothing should be concluded
TERM = re.compile(r"'([^']*)'|\"([^\"]*)\"")
SPLIT = "No official split: 70/10/20 by patient."


def read(root: Path) -> Manifest:
    """Read ``PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv`` (or ``.csv.gz``) and the PNGs below ``root``.

    Labels are Python lists of terms as text, with stray blanks and empty items; a term of ``TERMS`` makes its label
    positive, all others are negative. They are unknown where the list is empty or blank or says ``exclude``. There is
    no official split: 70/10/20 by patient. The table names images that the archives lack, and few people have all 54
    of them: rows without a file are left out and counted in a note. A row without a patient counts as one of its own.
    ``Report`` is one field, read as findings.
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    path = layout.first(*(f"{name}{end}" for name in TABLES for end in ("", ".gz")))
    whole = layout.table(path, COLUMNS)
    files = layout.files([""], (".png", ".jpg", ".jpeg"))
    stems = [_stem(name) for name in whole["ImageID"]]
    there = [row for row, stem in enumerate(stems) if stem in files]
    if not there:
        raise layout.error(f"not one image of {path.name} is there ({some(stems)})")
    table = {name: [column[row] for row in there] for name, column in whole.items()}
    ids = [stems[row] for row in there]
    layout.unique(ids, path.name)
    cells = zip(table["PatientID"], table["StudyID"], strict=True)
    patients = [study if is_empty(patient) else identifier(patient) for patient, study in cells]
    targets, unknown = _targets(layout, table["Labels"], path.name)
    reports = _reports(table)
    return Manifest(
        name="padchest",
        root=root,
        images=with_attributes(image_table(
            ids, files, patients=patients, studies=table["StudyID"], splits=by_patient(patients, FRACTIONS),
            views=[VIEWS.get(view, "") for view in table["Projection"]], labels=LABELS, targets=targets,
        ), {**table, "age": _ages(table)},
            {"sex": "PatientSex_DICOM", "age": "age", "scanner": "Manufacturer_DICOM"}),
        labels=LABELS,
        reports=reports,
        lineage=LINEAGE,
        source=SOURCE,
        licence=LICENCE,
        split_notes={SPLIT: SPLITS},
        notes=(
            SPLIT,
            "Labels: PadChest's terms under CheXpert's names (TERMS in datasets/padchest.py); all others are negative.",
            f"{len(reports):,} of {len(set(table['StudyID'])):,} studies have a report, in one field as published.",
            *([f"{unknown:,} images have no terms, or say exclude: their labels are unknown."] * (unknown > 0)),
            *_inverted(table),
            *([f"{len(stems) - len(ids):,} rows without an image file were left out."] * (len(stems) > len(ids))),
            *subset_note(len(ids), OFFICIAL, "images"),
        ),
    )  # fmt: skip


def _stem(name: str) -> str:
    """``123_4abc.png`` without its extension: mirrors have other formats than the table says."""
    return name.rpartition(".")[0] or name


def _ages(table: Table) -> list[str]:
    """Years from the year of birth to that of the study; "" where one of them is not there."""
    absent = [""] * len(table["ImageID"])
    born, seen = (table.get(name, absent) for name in ("PatientBirth", "StudyDate_DICOM"))
    years = [(str(b)[:4], str(s)[:4]) for b, s in zip(born, seen, strict=True)]
    return [str(int(s) - int(b)) if b.isdecimal() and s.isdecimal() else "" for b, s in years]


def _targets(layout: Layout, cells: Sequence[str], where: str) -> tuple[NDArray[np.float32], int]:
    """Targets [images, 14], and how many images have none."""
    targets = np.full((len(cells), len(LABELS)), np.nan, np.float32)
    for row, cell in enumerate(cells):
        if not is_empty(cell) and not (cell.startswith("[") and cell.endswith("]")):
            raise layout.error(
                f"{where} has the Labels {plain(cell)!r}; known are lists like ['cardiomegaly', 'nodule']"
            )
        terms = {(single or double).strip().lower() for single, double in TERM.findall(cell)} - {""}
        if terms and EXCLUDED not in terms:
            targets[row] = [not terms.isdisjoint(TERMS[label]) for label in LABELS]
    return targets, int(np.isnan(targets[:, 0]).sum())


def _reports(table: Table) -> pd.DataFrame:
    """One row per study that has a report; the images of a study carry the same one."""
    rows: dict[str, str] = {}
    for study, report in zip(table["StudyID"], table["Report"], strict=True):
        if text := " ".join(report.split()):
            rows.setdefault(study, text)
    data = [(study, text, "") for study, text in sorted(rows.items())]
    return pd.DataFrame(data, columns=["study_id", "findings", "impression"])


def _inverted(table: Table) -> list[str]:
    """A note where the table calls images MONOCHROME1: nobody here has seen whether their PNGs are negatives."""
    count = table.get("PhotometricInterpretation_DICOM", []).count("MONOCHROME1")
    return [f"{count:,} images were MONOCHROME1 in DICOM; their PNGs are read as they are stored."] if count else []


DATASET = Dataset("padchest", TITLE, SOURCE, LICENCE, read, lineage=LINEAGE, patients="padchest")
