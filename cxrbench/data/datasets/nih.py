"""NIH ChestX-ray14: 112,120 frontal radiographs of 30,805 patients, 14 text-mined labels. Wang et al., CVPR 2017."""

import os
from pathlib import Path

import numpy as np

from cxrbench.data.attributes import with_attributes
from cxrbench.data.datasets.layout import Layout, image_table, subset_note
from cxrbench.data.manifest import SPLITS, Dataset, Manifest
from cxrbench.data.splits import by_patient, shared_patients
from cxrbench.files.names import plain, some

TITLE = "NIH ChestX-ray14"
SOURCE = "https://nihcc.app.box.com/v/ChestXray-NIHCC"
LICENCE = "NIH Clinical Center: free to use, with acknowledgement and a citation of Wang et al., CVPR 2017"
LINEAGE = ("nih",)
OFFICIAL = 112_120
FRACTIONS = {"train": 0.7, "val": 0.1, "test": 0.2}
TRAIN_VAL = {"train": 7, "val": 1}
LABELS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip
NEGATIVE = "No Finding"
COLUMNS = ("Image Index", "Finding Labels", "Patient ID", "View Position")
IMAGE_FOLDERS = ("images", *(f"images_{number:03d}" for number in range(1, 13)))
WITHOUT_LISTS = "No official lists (test_list.txt): 70/10/20 by patient."
OFFICIAL_TEST = "Official test list."
VALIDATION = "Validation is an eighth of the images that are not test, by patient."


def read(root: Path) -> Manifest:
    """Read ``Data_Entry_2017_v2020.csv`` (or ``Data_Entry_2017.csv``) and ``images/`` (or ``images_001`` ... ``_012``).

    Images are PNG, or JPEG as in resized mirrors. With ``test_list.txt`` and ``train_val_list.txt`` the official test
    set is used and an eighth of the other images are validation, by patient; without them, 70/10/20 by patient.
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    path = layout.first("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
    table = layout.table(path, COLUMNS)
    ids = [_stem(name) for name in table["Image Index"]]
    layout.unique(ids, path.name)
    files = layout.files(IMAGE_FOLDERS, (".png", ".jpg", ".jpeg"))
    layout.require(ids, files, path.name)
    found = [set(cell.split("|")) for cell in table["Finding Labels"]]
    if unknown := sorted(set().union(*found) - {*LABELS, NEGATIVE}):
        raise layout.error(f"{path.name} has the unknown finding {plain(unknown[0])!r}")
    splits, dealt = _splits(layout, ids, table["Patient ID"])
    images = image_table(
        ids, files, patients=table["Patient ID"], splits=splits, labels=LABELS,
        views=[view if view in ("PA", "AP") else "" for view in table["View Position"]],
        targets=np.array([[name in names for name in LABELS] for names in found], np.float32),
    )  # fmt: skip
    return Manifest(
        name="nih",
        root=root,
        images=with_attributes(images, table, {"sex": "Patient Gender", "age": "Patient Age"}),
        labels=LABELS,
        lineage=LINEAGE,
        source=SOURCE,
        licence=LICENCE,
        split_notes=dealt,
        notes=(*dealt, *subset_note(len(ids), OFFICIAL, "images")),
    )


def _stem(name: str) -> str:
    """``00000001_000.png`` without its extension: mirrors have other formats than the table says."""
    return os.path.splitext(name)[0]


def _splits(layout: Layout, ids: list[str], patients: list[str]) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Split of each image, and notes that say where each split comes from."""
    paths = [layout.root / "train_val_list.txt", layout.root / "test_list.txt"]
    there = [path for path in paths if path.is_file()]
    if not there:
        return by_patient(patients, FRACTIONS).tolist(), {WITHOUT_LISTS: SPLITS}
    if len(there) == 1:
        raise layout.error(f"{there[0].name} is there without its companion; add it, or remove it to split by patient")
    train_val, test = ({_stem(name) for name in layout.lines(path)} for path in paths)
    if torn := [name for name in ids if (name in train_val) == (name in test)]:
        raise layout.error(f"{len(torn):,} image(s) are in neither or both of the official lists: {some(torn)}")
    dealt = iter(by_patient([p for name, p in zip(ids, patients, strict=True) if name in train_val], TRAIN_VAL))
    splits = ["test" if name in test else str(next(dealt)) for name in ids]
    if shared := shared_patients(patients, splits):
        raise layout.error(f"the lists put {len(shared):,} patient(s) in two splits: {some(shared)}")
    return splits, {OFFICIAL_TEST: ("test",), VALIDATION: ("train", "val")}


DATASET = Dataset("nih", TITLE, SOURCE, LICENCE, read, lineage=LINEAGE)
