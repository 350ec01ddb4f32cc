"""VinDr-CXR 1.0.0: 18,000 PA radiographs, 28 labels by radiologists. Nguyen et al., Scientific Data 9:429 (2022)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrbench.data.annotations.boxes import fuse_readers, without_repeated
from cxrbench.data.datasets.layout import File, Layout, image_table, joined_parts, subset_note
from cxrbench.data.manifest import Dataset, Manifest
from cxrbench.data.splits import by_patient
from cxrbench.files.names import plain, some

TITLE = "VinDr-CXR 1.0.0"
SOURCE = "https://physionet.org/content/vindr-cxr/1.0.0/"
LICENCE = "PhysioNet Credentialed Health Data License 1.5.0"
LINEAGE = ("vindr",)
OFFICIAL = {"train": 15_000, "test": 3_000}
FRACTIONS = {"train": 0.9, "val": 0.1}

FINDINGS = (
    "Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Clavicle fracture", "Consolidation", "Edema",
    "Emphysema", "Enlarged PA", "ILD", "Infiltration", "Lung Opacity", "Lung cavity", "Lung cyst", "Mediastinal shift",
    "Nodule/Mass", "Pleural effusion", "Pleural thickening", "Pneumothorax", "Pulmonary fibrosis", "Rib fracture",
    "Other lesion",
)  # fmt: skip
DIAGNOSES = ("COPD", "Lung tumor", "Pneumonia", "Tuberculosis", "Other diseases", "No finding")
LABELS = FINDINGS + DIAGNOSES
RADJEPA_SIX = (
    "Lung Opacity", "Cardiomegaly", "Pleural thickening", "Aortic enlargement", "Pulmonary fibrosis",
    "Pleural effusion",
)  # fmt: skip
SPELLINGS = {"Other disease": "Other diseases"}  # the test files' spelling; the training files have the plural


def read(root: Path) -> Manifest:
    """Read the official layout: ``train/``, ``test/`` (DICOM) and four CSVs in ``annotations/``.

    A training image is positive where more than half of its (three) radiologists say so; a test image has one row, the
    consensus. So with boxes: the majority decides whether a finding is there, and the boxes of those who drew it are
    fused by weighted box fusion (``annotations/boxes.py``) to say where; test boxes are the consensus. Validation is a
    tenth of the training images. ``groups``: ``macro`` the six findings of RadJEPA (arXiv 2601.15891), ``all`` every
    label with a positive and a negative in test.
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    parts, boxes, notes = [], [], []
    for part, official in OFFICIAL.items():
        ids, targets = _fused(layout, part)
        files = layout.files([part], (".dicom", ".dcm"))
        layout.require(ids, files, f"image_labels_{part}.csv")
        splits = by_patient(ids, FRACTIONS) if part == "train" else ["test"] * len(ids)
        views = ["PA"] * len(ids)
        parts.append(image_table(ids, files, patients=ids, splits=splits, views=views, labels=LABELS, targets=targets))
        drawn, box_notes = _boxes(layout, part, {name: files[name] for name in ids})
        notes += box_notes
        boxes.append(fuse_readers(_of_majority(drawn, parts[-1])) if part == "train" else drawn)
        notes += subset_note(len(ids), official, f"images in {part}/")
        if unread := len(files) - len(ids):
            notes.append(f"{unread:,} files in {part}/ are in no table and were left out.")
    images, tested = joined_parts(layout, parts, LABELS)
    return Manifest(
        name="vindr",
        root=root,
        images=images,
        labels=LABELS,
        groups={"macro": RADJEPA_SIX, "all": tested},
        boxes=pd.concat(boxes, ignore_index=True),
        lineage=LINEAGE,
        source=SOURCE,
        licence=LICENCE,
        notes=(
            "VinDr-CXR publishes no patient ids: each image counts as a patient.",
            "Training labels: majority of three radiologists; training boxes: theirs of these labels, fused.",
            *notes,
        ),
    )


def _fused(layout: Layout, part: str) -> tuple[list[str], NDArray[np.float32]]:
    """Image ids, and labels [images, 28] fused over the rows of each image."""
    path = layout.first(f"annotations/image_labels_{part}.csv")
    table = layout.table(path, ["image_id", *(["rad_id"] if part == "train" else [])])
    table = {SPELLINGS.get(name, name): column for name, column in table.items()}
    if missing := [name for name in LABELS if name not in table]:
        raise layout.error(f"{path.name} lacks the column(s) {', '.join(missing)}")
    readers = table.get("rad_id", ["consensus"] * len(table["image_id"]))
    if len(set(zip(table["image_id"], readers, strict=True))) < len(readers):
        raise layout.error(f"{path.name} has an image twice from the same reader")
    votes = np.nan_to_num(np.stack([layout.numbers(table, name, path.name) for name in LABELS], axis=1))
    if not np.isin(votes, (0, 1)).all():
        raise layout.error(f"{path.name} has label values other than 0 and 1")
    ids, image_of_row, rows = np.unique(table["image_id"], return_inverse=True, return_counts=True)
    positive = np.zeros((len(ids), len(LABELS)))
    np.add.at(positive, image_of_row, votes)
    return [str(name) for name in ids], (2 * positive > rows[:, None]).astype(np.float32)


def _boxes(layout: Layout, part: str, files: Mapping[str, File]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Boxes in pixels of the stored image, each radiologist's in training, the consensus in test; a note on repeats."""
    path = layout.first(f"annotations/annotations_{part}.csv")
    table = layout.table(path, ["image_id", "class_name", "x_min", "y_min", "x_max", "y_max"])
    left, top, right, bottom = (layout.numbers(table, name, path.name) for name in ("x_min", "y_min", "x_max", "y_max"))
    labels = [SPELLINGS.get(name, name) for name in table["class_name"]]
    if unknown := sorted(set(labels) - set(LABELS)):
        raise layout.error(f"{path.name} has boxes of the unknown class {plain(unknown[0])!r}")
    boxes = pd.DataFrame({
        "image_id": table["image_id"], "label": labels, "x": left, "y": top, "width": right - left,
        "height": bottom - top, "reader": table.get("rad_id", [""] * len(left)),
    })  # fmt: skip
    filled = np.isfinite([left, top, right, bottom])
    if (torn := np.flatnonzero(filled.any(axis=0) & ~filled.all(axis=0))).size:
        raise layout.error(f"{path.name} row {torn[0] + 2} has a box with a gap")
    boxes, notes = without_repeated(boxes.iloc[np.flatnonzero(filled.all(axis=0))], path.name)  # "No finding" has none
    if absent := sorted(set(boxes["image_id"]) - set(files)):
        notes += (f"Boxes of {len(absent):,} image(s) that {path.name} alone has were left out ({some(absent)}).",)
        boxes = boxes.loc[boxes["image_id"].isin(list(files)).to_numpy()]
    layout.check_boxes(boxes, files, f"annotations/{path.name}")
    return boxes.drop(columns="reader"), notes


def _of_majority(boxes: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """The boxes of labels that are positive in their image."""
    targets = images[list(LABELS)].to_numpy(np.float32)
    ids = images["image_id"].tolist()
    positive = {(ids[row], LABELS[label]) for row, label in np.argwhere(targets == 1)}
    kept = [pair in positive for pair in zip(boxes["image_id"], boxes["label"], strict=True)]
    return boxes.iloc[np.flatnonzero(kept)]


DATASET = Dataset("vindr", TITLE, SOURCE, LICENCE, read, lineage=LINEAGE)
