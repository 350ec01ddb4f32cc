"""CheXpert: 224,316 radiographs of 65,240 patients, 14 labels mined from reports. Irvin et al., AAAI 2019."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrbench.data.attributes import with_attributes
from cxrbench.data.datasets.layout import Layout, image_table, subset_note
from cxrbench.data.manifest import PART, SAID_UNCERTAIN, Dataset, Manifest
from cxrbench.data.splits import by_patient, shared_patients
from cxrbench.data.tables import Table
from cxrbench.files.names import plain, some

TITLE = "CheXpert"
SOURCE = "https://stanfordaimi.azurewebsites.net (CheXpert-v1.0 or CheXpert-v1.0-small)"
LICENCE = "Stanford University School of Medicine CheXpert Dataset Research Use Agreement: no redistribution"
LINEAGE = ("chexpert",)
OFFICIAL = 223_648  # rows of train.csv and valid.csv
LABELS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
    "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
    "Support Devices",
)  # fmt: skip
COMPETITION = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
# What "uncertain" counts as in the task of the competition's five labels; of the other nine it is unknown.
UNCERTAIN = {"Atelectasis": 1.0, "Edema": 1.0, "Pleural Effusion": 1.0, "Cardiomegaly": 0.0, "Consolidation": 0.0}
POLICY = (
    "Labels: 1 is positive; 0 and blank (not mentioned) are negative; -1 (uncertain) is positive for Atelectasis, "
    "Edema and Pleural Effusion, negative for Cardiomegaly and Consolidation, unknown for the other nine."
)
KNOWN = {"1.0": 1.0, "1": 1.0, "0.0": 0.0, "0": 0.0, "": 0.0}
UNSURE = ("-1.0", "-1")
SPLITS = {"train": 9, "val": 1}
EXTENSIONS = (".jpg", ".jpeg", ".png")
IMAGE = re.compile(r"(?:.*/)?((patient\d+)/(study\d+)/(view\d+_(frontal|lateral)))\.\w+")


class Name(NamedTuple):
    """What an image's path says: ``key`` is ``patient00001/study1/view1_frontal``; ``study`` holds the patient, too."""

    key: str
    patient: str
    study: str
    side: str

    @property
    def image(self) -> str:
        """The image's id: the key in one word."""
        return self.key.replace("/", "_")


def read(root: Path) -> Manifest:
    """Read ``train.csv`` and ``valid.csv`` in ``root`` or in the ``CheXpert-v1.0*`` folder in it, and the JPEGs.

    An image is found by the last three parts of its ``Path``, wherever below ``root`` its patient's folder lies. As in
    the papers, ``valid.csv`` (radiologists' labels) is the test set; validation is a tenth of the training images, by
    patient. Where the 500 studies of the official test set are there, too, with a table ``test.csv`` or
    ``test_labels.csv`` that has ``Path`` and the labels, they are the test set and ``valid.csv`` the validation set.
    ``groups``: ``macro`` the competition's five labels, ``all`` the fourteen. Uncertain labels: ``POLICY``.
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    tables = _tables(layout)
    names: list[Name] = []
    targets, views, parts, cells = [], [], [], []
    for part, (table, where) in tables.items():
        here = [name_of(layout, path, where) for path in table["Path"]]
        names += here
        cells.append({label: table[label] for label in LABELS})
        targets.append(targets_of(layout, cells[-1], where))
        projections = table.get("AP/PA", [""] * len(here))
        views += [view_of(name.side, cell) for name, cell in zip(here, projections, strict=True)]
        parts += [part] * len(here)
    ids = [name.image for name in names]
    if twice := sorted(name for name, count in Counter(ids).items() if count > 1):
        raise layout.error(f"{len(twice):,} image(s) are in the tables twice: {some(twice)}")
    files = layout.files([""], EXTENSIONS, parts=3)
    layout.require((name.key for name in names), files, " and ".join(where for _, where in tables.values()))
    known = {
        column: [cell for table, _ in tables.values() for cell in table.get(column, [""] * len(table["Path"]))]
        for column in ("Sex", "Age")
    }
    splits, dealt = split_by_part(layout, [name.patient for name in names], parts)
    said = pd.concat([uncertain_in(one) for one in cells], ignore_index=True)
    return Manifest(
        name="chexpert",
        root=root,
        images=with_attributes(image_table(
            ids, {name.image: files[name.key] for name in names}, patients=[name.patient for name in names],
            studies=[name.study for name in names], splits=splits, views=views, labels=LABELS,
            targets=np.concatenate(targets),
        ).assign(**{PART: parts}, **said), known, {"sex": "Sex", "age": "Age"}),
        labels=LABELS,
        groups={"macro": COMPETITION, "all": LABELS},
        lineage=LINEAGE,
        source=SOURCE,
        licence=LICENCE,
        split_notes=dealt,
        notes=(POLICY, *dealt, *subset_note(sum(part != "test" for part in parts), OFFICIAL, "images")),
    )  # fmt: skip


def name_of(layout: Layout, path: str, where: str) -> Name:
    """Read an official path. Raises UserError for another form."""
    match = IMAGE.fullmatch(path)
    if match is None:
        raise layout.error(f"{where} has the path {plain(path)!r}; known are .../patient00001/study1/view1_frontal.jpg")
    key, patient, study, _, side = match.groups()
    return Name(key, patient, f"{patient}_{study}", side)


def view_of(side: str, projection: str) -> str:
    """PA, AP or L; "" for a frontal image of another or no stated projection (a few are LL and RL)."""
    return "L" if side == "lateral" else projection if projection in ("PA", "AP") else ""


def targets_of(layout: Layout, cells: Mapping[str, Sequence[str]], where: str) -> NDArray[np.float32]:
    """Targets [images, 14] from the tables' cells under ``POLICY``. Raises UserError for any other value."""
    columns = []
    for label in LABELS:
        meaning = {**KNOWN, **dict.fromkeys(UNSURE, UNCERTAIN.get(label, np.nan))}
        if unknown := sorted(set(cells[label]) - set(meaning)):
            raise layout.error(
                f"{where} has the label value {plain(unknown[0])!r} for {label}; known are 1, 0, -1 and blank"
            )
        columns.append([meaning[cell] for cell in cells[label]])
    return np.array(columns, np.float32).T


def uncertain_in(cells: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Which labels the tables' cells call uncertain: columns ``uncertain:LABEL`` of bool, one row per image."""
    return pd.DataFrame({SAID_UNCERTAIN + label: np.isin(np.asarray(cells[label], str), UNSURE) for label in LABELS})


def split_by_part(
    layout: Layout, patients: Sequence[str], parts: Sequence[str]
) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Split of each image from the official part (train, valid or test) that it is in, and notes that say so, each with
    the splits that it is about.
    """
    if shared := shared_patients(patients, parts):
        raise layout.error(f"the official parts share {len(shared):,} patient(s): {some(shared)}")
    if "test" in parts:
        return [{"valid": "val"}.get(part, part) for part in parts], {
            "Test is the official test.": ("test",), "Official train and valid (validation).": ("train", "val"),
        }  # fmt: skip
    train = [patient for patient, part in zip(patients, parts, strict=True) if part == "train"]
    dealt = iter(by_patient(train, SPLITS))
    splits = [str(next(dealt)) if part == "train" else "test" for part in parts]
    return splits, {
        "Test is the official valid.": ("test",),
        "Validation is a tenth of the training images, by patient.": ("train", "val"),
    }


def _tables(layout: Layout) -> dict[str, tuple[Table, str]]:
    """The tables of the official parts, each with its file name."""
    found = {"train": layout.first(*_places(layout.root, "train.csv")),
             "valid": layout.first(*_places(layout.root, "valid.csv"))}  # fmt: skip
    held_out = [*_places(layout.root, "test.csv"), *_places(layout.root, "test_labels.csv")]
    if test := next((path for name in held_out if (path := layout.root / name).is_file()), None):
        found["test"] = test
    return {part: (layout.table(path, ("Path", *LABELS)), path.name) for part, path in found.items()}


def _places(root: Path, name: str) -> Iterable[str]:
    """Where a table may lie: in the folder itself, or in a folder in it."""
    return (name, *sorted(f"{path.parent.name}/{name}" for path in root.glob(f"*/{name}")))


DATASET = Dataset("chexpert", TITLE, SOURCE, LICENCE, read, lineage=LINEAGE, patients="chexpert")
