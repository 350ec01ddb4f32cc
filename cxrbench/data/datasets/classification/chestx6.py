"""ChestX6: 18,036 radiographs in six classes, collected from other public sets (Kaggle, 2025).

Folders, classes and counts were checked against public code. UNVERIFIED: which sets the images come from (the classes
point to Guangzhou's paediatric pneumonia, the COVID-19 Radiography Database, Shenzhen and NIH), so contamination cannot
be told, and whose images they are. Public code counts 17,988 distinct files: ``data check`` says which are one.
"""

from pathlib import Path

import numpy as np

from cxrbench.data.datasets.layout import Layout, image_table, subset_note
from cxrbench.data.manifest import SPLITS, Dataset, Manifest
from cxrbench.files.names import some

TITLE = "ChestX6"
SOURCE = "https://www.kaggle.com/datasets/mohamedasak/chest-x-ray-6-classes-dataset"
LICENCE = "as on its Kaggle page, and the terms of the sets that the images come from (UNVERIFIED)"
LINEAGE = ("chestx6",)
OFFICIAL = 18_036
LABELS = ("Covid-19", "Emphysema", "Normal", "Pneumonia-Bacterial", "Pneumonia-Viral", "Tuberculosis")
WRAPPERS = ("", "chest-xray/")
EXTENSIONS = (".jpg", ".jpeg", ".png")
SPLIT = "Official folders as splits; without patient ids nobody can say that no patient is in two of them."


def read(root: Path) -> Manifest:
    """Read ``train/Covid-19/*.jpg`` and so on, in the root or in ``chest-xray/``.

    The official folders are the splits, the class folders the labels, which exclude each other. An image is called by
    its path (``train_Normal_12``), for names repeat. There are no patient ids: each image is a patient of its own, and
    nobody can say that no patient is in two splits.
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    if not root.is_dir():
        raise layout.error("there is no such folder")
    base = next((place for place in WRAPPERS if (root / place / "train").is_dir()), None)
    if base is None:
        raise layout.error("folder train is missing")
    classes = {split: _classes(root / base / split) for split in SPLITS}
    if unknown := sorted(set().union(*classes.values()) - set(LABELS)):
        raise layout.error(f"unknown classes {some(unknown)}; known are {', '.join(LABELS)}")
    absent = [f"{base}{split}/{name}" for split in SPLITS for name in LABELS if name not in classes[split]]
    if absent:
        raise layout.error(f"folder {some(absent)} is missing")
    found = layout.files([f"{base}{split}" for split in SPLITS], EXTENSIONS, parts=3)
    files = {name.replace("/", "_"): file for name, file in found.items()}
    split_and_class = [name.split("/")[:2] for name in found]
    ids = list(files)
    if stray := [name for name, (split, of) in zip(found, split_and_class, strict=True)
                 if split not in SPLITS or of not in LABELS]:  # fmt: skip
        raise layout.error(f"{len(stray):,} image(s) do not lie right in a folder of a class: {some(stray)}")
    targets = np.array([[name == label for label in LABELS] for _, name in split_and_class], np.float32)
    images = image_table(
        ids, files, patients=ids, splits=[split for split, _ in split_and_class], views=[""] * len(ids), labels=LABELS,
        targets=targets,
    )  # fmt: skip
    return Manifest(
        name="chestx6",
        root=root,
        images=images,
        labels=LABELS,
        kind="multiclass",
        lineage=LINEAGE,
        source=SOURCE,
        licence=LICENCE,
        split_notes={SPLIT: SPLITS},
        notes=(
            SPLIT,
            "Collected from public sets that nobody names: which encoders have seen these images cannot be told.",
            *subset_note(len(ids), OFFICIAL, "images"),
        ),
    )


def _classes(folder: Path) -> set[str]:
    """The folders in a folder; none where there is none."""
    return {path.name for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else set()


DATASET = Dataset("chestx6", TITLE, SOURCE, LICENCE, read, lineage=LINEAGE)
