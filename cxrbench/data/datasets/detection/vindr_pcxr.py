"""VinDr-PCXR 1.0.0 (PediCXR): 9,125 radiographs of children under ten. Pham et al., Scientific Data 10:240 (2023)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrbench.data.annotations.boxes import SIDES, image_sizes, without_repeated
from cxrbench.data.datasets.layout import File, Layout, image_table, joined_parts, subset_note
from cxrbench.data.manifest import Dataset, Manifest
from cxrbench.data.splits import by_patient
from cxrbench.files.names import plain, some

TITLE = "VinDr-PCXR 1.0.0"
SOURCE = "https://physionet.org/content/vindr-pcxr/1.0.0/"
LICENCE = "PhysioNet Restricted Health Data License 1.5.0: a signed agreement; no redistribution"
LINEAGE = ("vindr-pcxr",)
OFFICIAL = {"train": 7_728, "test": 1_397}
FRACTIONS = {"train": 0.9, "val": 0.1}

DISEASES = (
    "No finding", "Bronchitis", "Brocho-pneumonia", "Other disease", "Bronchiolitis", "Situs inversus", "Pneumonia",
    "Pleuro-pneumonia", "Diagphramatic hernia", "Tuberculosis", "Congenital emphysema", "CPAM",
    "Hyaline membrane disease", "Mediastinal tumor", "Lung tumor",
)  # fmt: skip
FINDINGS = (
    "Boot-shaped heart", "Peribronchovascular interstitial opacity", "Reticulonodular opacity", "Bronchial thickening",
    "Enlarged PA", "Cardiomegaly", "Diffuse aveolar opacity", "Other opacity", "Other lesion", "Consolidation",
    "Mediastinal shift", "Anterior mediastinal mass", "Dextro cardia", "Pleural effusion", "Stomach on the right side",
    "Atelectasis", "Lung hyperinflation", "Egg on string sign", "Interstitial lung disease - ILD", "Infiltration",
    "Lung cavity", "Pneumothorax", "Edema", "Pleural thickening", "Other nodule/mass", "Clavicle fracture",
    "Chest wall mass", "Lung cyst", "Emphysema", "Bronchectasis", "Expanded edges of the anterior ribs",
    "Pulmonary fibrosis", "Paraveterbral mass", "Aortic enlargement", "Calcification",
    "Intrathoracic digestive structure",
)  # fmt: skip
"""In the spelling of the files, as are DISEASES."""
LABELS = DISEASES + FINDINGS
FREQUENT = ("No finding", "Bronchitis", "Brocho-pneumonia", "Bronchiolitis", "Pneumonia", "Other disease")
NONE = "No finding"


def read(root: Path) -> Manifest:
    """Read ``image_labels_{train,test}.csv``, ``annotations_{train,test}.csv`` and ``train/``, ``test/`` (DICOM).

    The tables lie beside the folders (those of VinDr-CXR lie in ``annotations/``, which is read, too). Each image was
    read by one of three radiologists, so has one row of labels: 15 columns, of which ``No finding`` is one, and some
    images have none of them (by published counts at least 47 and 9). The 36 findings are named by boxes alone: one is
    positive where it has a box. Validation is a tenth of the training images. ``groups``: ``macro`` the six columns
    with more than three positive test images, ``all`` every label with a positive and a negative in test.

    Names are spelled as in the files (``Brocho-pneumonia``, ``Diagphramatic hernia``). Not verified, for the files were
    not at hand: what coordinates rows of ``No finding`` have (none are read), and whether boxes reach beyond their
    images (they are cut at the edge, with a note).
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    tables, boxes, notes = [], [], []
    for part, official in OFFICIAL.items():
        ids, diseases, where = _diseases(layout, part)
        files = layout.files([part], (".dicom", ".dcm"))
        layout.require(ids, files, where)
        drawn, said = _boxes(layout, part, {name: files[name] for name in ids})
        targets = np.concatenate([diseases, _present(ids, drawn)], axis=1)
        splits = by_patient(ids, FRACTIONS) if part == "train" else ["test"] * len(ids)
        views = ["PA"] * len(ids)
        tables.append(image_table(ids, files, patients=ids, splits=splits, views=views, labels=LABELS, targets=targets))
        boxes.append(drawn)
        notes += [*_odd(diseases, where), *said, *subset_note(len(ids), official, f"images in {part}/")]
        if unread := len(files) - len(ids):
            notes.append(f"{unread:,} files in {part}/ are in no table and were left out.")
    images, tested = joined_parts(layout, tables, LABELS)
    return Manifest(
        name="vindr-pcxr",
        root=root,
        images=images,
        labels=LABELS,
        groups={"macro": FREQUENT, "all": tested},
        boxes=pd.concat(boxes, ignore_index=True),
        lineage=LINEAGE,
        source=SOURCE,
        licence=LICENCE,
        notes=("VinDr-PCXR publishes no patient ids: each image counts as a patient.", *notes),
    )  # fmt: skip


def _diseases(layout: Layout, part: str) -> tuple[list[str], NDArray[np.float32], str]:
    """Image ids, their labels [images, 15], and the table's name."""
    path = layout.first(f"image_labels_{part}.csv", f"annotations/image_labels_{part}.csv")
    table = layout.table(path, ["image_id", *DISEASES])
    layout.unique(table["image_id"], path.name)
    values = np.stack([layout.numbers(table, name, path.name) for name in DISEASES], axis=1)
    if not np.isin(values, (0, 1)).all():
        raise layout.error(f"{path.name} has label values other than 0 and 1")
    return table["image_id"], values.astype(np.float32), path.name


def _odd(diseases: NDArray[np.float32], where: str) -> list[str]:
    """Notes on images that have none of the labels, and on those that have another beside ``No finding``."""
    none, both = int((diseases.sum(1) == 0).sum()), int(((diseases[:, 0] == 1) & (diseases.sum(1) > 1)).sum())
    return [
        *([f"{none:,} image(s) of {where} have none of its {len(DISEASES)} labels, not even {NONE}."] * (none > 0)),
        *([f"{both:,} image(s) of {where} have another label beside {NONE}."] * (both > 0)),
    ]


def _boxes(layout: Layout, part: str, files: Mapping[str, File]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """One row per box, in pixels of the stored image, and notes on what was repeated, cut or left out."""
    path = layout.first(f"annotations_{part}.csv", f"annotations/annotations_{part}.csv")
    table = layout.table(path, ["image_id", "class_name", "x_min", "y_min", "x_max", "y_max"])
    if unknown := sorted(set(table["class_name"]) - {*FINDINGS, NONE}):
        raise layout.error(f"{path.name} has boxes of the unknown class {plain(unknown[0])!r}")
    left, top, right, bottom = (layout.numbers(table, name, path.name) for name in ("x_min", "y_min", "x_max", "y_max"))
    boxes = pd.DataFrame({
        "image_id": table["image_id"], "label": table["class_name"], "x": left, "y": top, "width": right - left,
        "height": bottom - top,
    })  # fmt: skip
    boxes = boxes.loc[np.array(table["class_name"]) != NONE]
    if (gaps := np.flatnonzero(~np.isfinite(boxes[SIDES].to_numpy()).all(axis=1))).size:
        raise layout.error(f"{path.name} row {int(boxes.index[gaps[0]]) + 2} has a box with a gap")
    boxes, notes = without_repeated(boxes, path.name)
    if absent := sorted(set(boxes["image_id"]) - set(files)):
        notes += (f"Boxes of {len(absent):,} image(s) that {path.name} alone has were left out ({some(absent)}).",)
        boxes = boxes.loc[boxes["image_id"].isin(list(files)).to_numpy()]
    sizes = image_sizes({name: layout.root / files[name].path for name in sorted(set(boxes["image_id"]))})
    boxes, cut = layout.cut_boxes(boxes, sizes, path.name)
    return boxes, (*notes, *cut)


def _present(ids: Sequence[str], boxes: pd.DataFrame) -> NDArray[np.float32]:
    """Whether each image has a box of each finding [images, 36]."""
    drawn = set(zip(boxes["image_id"], boxes["label"], strict=True))
    return np.array([[(name, finding) in drawn for finding in FINDINGS] for name in ids], np.float32)


DATASET = Dataset("vindr-pcxr", TITLE, SOURCE, LICENCE, read, lineage=LINEAGE)
