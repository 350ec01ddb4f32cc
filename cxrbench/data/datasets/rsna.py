"""RSNA Pneumonia Detection Challenge, stage 2: 26,684 images of NIH ChestX-ray14. Shih et al., Radiol AI 1 (2019)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from cxrbench.data.annotations.boxes import without_repeated
from cxrbench.data.datasets.layout import File, Layout, image_table, subset_note
from cxrbench.data.manifest import Dataset, Manifest
from cxrbench.data.splits import by_patient
from cxrbench.data.tables import Table, read_json
from cxrbench.errors import UserError
from cxrbench.files.names import plain, some

TITLE = "RSNA Pneumonia Detection Challenge (stage 2)"
SOURCE = "https://www.kaggle.com/c/rsna-pneumonia-detection-challenge/data"
LICENCE = "RSNA challenge terms of use (non-commercial, academic research and education)"
LINEAGE = ("rsna", "nih")
OFFICIAL = 26_684
FRACTIONS = {"train": 0.6, "val": 0.2, "test": 0.2}
LABEL = "Pneumonia"  # the challenge's name for Target; strictly a lung opacity that radiologists found suspicious of it
OPACITY = "Lung Opacity"
CLASSES = ("Normal", "No Lung Opacity / Not Normal", OPACITY)
MAPPING = "pneumonia-challenge-dataset-mappings_2018.json"


def read(root: Path) -> Manifest:
    """Read ``stage_2_train_images/*.dcm``, ``stage_2_train_labels.csv`` and ``stage_2_detailed_class_info.csv``.

    The labels' table has one row per box, so several for a positive image; they become one row and as many boxes.
    60/20/20 by patient (test 5,337 of the full set). ``patientId`` names an image, not a patient: the NIH patients
    behind the images are known only if RSNA's mapping file lies beside the tables (``MAPPING``).
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    path = layout.first("stage_2_train_labels.csv")
    table = layout.table(path, ["patientId", "x", "y", "width", "height", "Target"])
    target = _one_value(layout, table, "Target", path.name)
    if set(target.values()) - {"0", "1"}:
        raise layout.error(f"{path.name} has a Target other than 0 and 1")
    _check_classes(layout, target)
    ids = sorted(target)
    files = layout.files(["stage_2_train_images"], (".dcm",))
    layout.require(ids, files, path.name)
    patients, note = _patients(layout, ids)
    boxes, box_notes = _boxes(layout, table, files, path.name)
    targets = np.array([[float(target[name])] for name in ids], np.float32)
    return Manifest(
        name="rsna",
        root=root,
        images=image_table(
            ids, files, patients=patients, splits=by_patient(patients, FRACTIONS), views=[""] * len(ids),
            labels=(LABEL,), targets=targets,
        ),
        labels=(LABEL,),
        boxes=boxes,
        lineage=LINEAGE,
        source=SOURCE,
        licence=LICENCE,
        notes=(note, *box_notes, *subset_note(len(ids), OFFICIAL, "images")),
    )  # fmt: skip


def _one_value(layout: Layout, table: Table, column: str, where: str) -> dict[str, str]:
    """Value of each image, which all of its rows must share."""
    values: dict[str, str] = {}
    for name, value in zip(table["patientId"], table[column], strict=True):
        if values.setdefault(name, value) != value:
            raise layout.error(
                f"{where} gives image {plain(name)} both {column} {plain(values[name])!r} and {plain(value)!r}"
            )
    return values


def _check_classes(layout: Layout, target: dict[str, str]) -> None:
    """The second table must have the same images, Target being 1 exactly where the class is Lung Opacity."""
    path = layout.first("stage_2_detailed_class_info.csv")
    classes = _one_value(layout, layout.table(path, ["patientId", "class"]), "class", path.name)
    if absent := [name for name in target if name not in classes]:
        raise layout.error(f"{path.name} lacks {len(absent):,} image(s): {some(absent)}")
    if unknown := sorted(set(classes.values()) - set(CLASSES)):
        raise layout.error(f"{path.name} has the unknown class {plain(unknown[0])!r}")
    if torn := [name for name, value in target.items() if (classes.get(name) == OPACITY) != (value == "1")]:
        raise layout.error(f"{path.name} does not agree with the Target of {len(torn):,} image(s): {some(torn)}")


def _boxes(layout: Layout, table: Table, files: Mapping[str, File], where: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """One row per box, in pixels of the stored image, and a note on repeated ones. A negative image has none."""
    sides = {name: layout.numbers(table, name, where) for name in ("x", "y", "width", "height")}
    boxes = pd.DataFrame({"image_id": table["patientId"], "label": LABEL, **sides})
    positive = np.array(table["Target"]) == "1"
    filled = np.isfinite(np.stack(list(sides.values())))
    if not filled[:, positive].all():
        raise layout.error(f"{where} has a positive row without a box")
    if (torn := np.flatnonzero(filled.any(axis=0) & ~positive)).size:
        names = [table["patientId"][row] for row in torn]
        raise layout.error(f"{where} has {len(names):,} box(es) of images whose Target is 0: {some(names)}")
    boxes, notes = without_repeated(boxes.iloc[np.flatnonzero(positive)], where)
    layout.check_boxes(boxes, files, where)
    return boxes, notes


def _patients(layout: Layout, ids: list[str]) -> tuple[list[str], str]:
    """NIH patient of each image from RSNA's mapping (``00000061_012.png`` is patient 00000061), else the image."""
    path = layout.root / MAPPING
    if not path.is_file():
        return ids, f"patientId names an image, and {MAPPING} is not there: each image counts as a patient."
    try:
        nih = {entry["subset_img_id"]: entry["img_id"].split("_")[0] for entry in read_json(path)}
    except (UserError, TypeError, KeyError, AttributeError) as error:
        raise layout.error(f"{MAPPING} is no list of objects with subset_img_id and img_id ({error!r})") from error
    if unknown := [name for name in ids if name not in nih]:
        raise layout.error(f"{MAPPING} lacks {len(unknown):,} image(s): {some(unknown)}")
    return [nih[name] for name in ids], f"Patients are NIH's, from {MAPPING}."


DATASET = Dataset("rsna", TITLE, SOURCE, LICENCE, read, lineage=LINEAGE)
