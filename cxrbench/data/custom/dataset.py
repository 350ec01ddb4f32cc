"""A user's own dataset: one CSV with a row per image or per box, or a COCO JSON; no code."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cxrbench.data.annotations.boxes import check_inside, image_sizes
from cxrbench.data.annotations.masks import check_sizes
from cxrbench.data.attributes import ATTRIBUTES, with_attributes
from cxrbench.data.custom.boxes import Boxed, take_boxes
from cxrbench.data.custom.coco import read_coco
from cxrbench.data.custom.columns import Sidecar, dataset_name, find_columns, read_sidecar
from cxrbench.data.custom.files import find_files, find_images, normal_path
from cxrbench.data.custom.labels import find_labels
from cxrbench.data.datasets.layout import image_table
from cxrbench.data.manifest import Manifest
from cxrbench.data.splits import by_patient, shared_patients
from cxrbench.data.tables import Table, first_repeated, is_empty, read_table
from cxrbench.errors import UserError
from cxrbench.files.names import plain, some

FRACTIONS = {"train": 0.7, "val": 0.1, "test": 0.2}
SPLIT_NAMES = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validate": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
VIEWS = {"PA": "PA", "AP": "AP", "L": "L", "LL": "L", "LAT": "L", "LATERAL": "L"}


def read_csv(path: Path) -> Manifest:
    """Read ``image, patient, split, labels...``; only the image column and a label are required.

    Columns are known by name (``columns.ALIASES``) or from a file ``NAME.toml`` beside the CSV. Image
    paths are relative to the CSV's folder, or absolute. Without a patient column each image is a patient; without
    a split column patients are split 70/10/20; without validation rows an eighth of the training rows become
    validation. A CSV with box columns has a row per box (``boxes.py``), and a ``.json`` is COCO's. What
    was decided stands in the manifest's notes. Raises UserError for a patient in two splits, missing
    files, and anything that is not clear.
    """
    path = path.expanduser().absolute()
    sidecar = read_sidecar(path.with_suffix(".toml"))
    if path.suffix.lower() == ".json":
        return manifest_of(path, read_coco(path), sidecar)
    return manifest_of(path, by_image(path, read_table(path), sidecar), sidecar)


def manifest_of(path: Path, boxed: Boxed, sidecar: Sidecar) -> Manifest:
    """The manifest of a table with a row per image and of its boxes; ``path`` is what the table is called.

    Raises UserError as ``read_csv`` does.
    """
    table, boxes, box_notes, sizes = boxed
    if boxes is not None:
        sidecar = replace(sidecar, kind="multilabel")
    columns = find_columns(path, table, sidecar)
    ids = table[columns["image"]]
    _check_ids(path, columns["image"], ids)
    labels = find_labels(path, table, columns, sidecar)
    patients, patient_notes = _patients(path, table, columns, ids)
    splits, split_notes = _splits(path, table, columns, patients)
    views = [VIEWS.get(cell.upper(), "") for cell in table[columns["view"]]] if "view" in columns else [""] * len(ids)
    images = image_table(
        ids, find_images(path, ids), patients=patients, splits=splits, views=views, labels=labels.names,
        targets=labels.targets,
    )  # fmt: skip
    if boxes is not None:
        _check_on_images(path, boxes, sizes)
    if "study" in columns:
        images["study_id"] = [
            name if is_empty(cell) else cell for cell, name in zip(table[columns["study"]], ids, strict=True)
        ]
    known = {name: columns[name] for name in ATTRIBUTES if name in columns}
    group_notes = [f"Not a label, but a group of patients: column {column} ({name})." for name, column in known.items()]
    for name, members in sidecar.groups.items():
        if absent := [member for member in members if member not in labels.names]:
            raise UserError(f"{path.with_suffix('.toml')}: group {name} has {plain(absent[0])!r}, which is not a label")
    return Manifest(
        name=dataset_name(path, sidecar),
        root=path.parent,
        images=with_attributes(images, table, known),
        labels=labels.names,
        kind=labels.kind,
        groups=sidecar.groups,
        boxes=boxes,
        masks=_masks(path, table, columns, ids, sidecar),
        masks_complete=sidecar.masks_complete,
        lineage=sidecar.lineage,
        source=sidecar.source or str(path),
        licence=sidecar.licence,
        notes=(*patient_notes, *split_notes, *labels.notes, *box_notes, *group_notes),
    )


def by_image(path: Path, table: Table, sidecar: Sidecar) -> Boxed:
    """The table with one row per image, and the boxes, if there are any. Raises UserError."""
    columns = find_columns(path, table, sidecar)
    table[columns["image"]] = [normal_path(cell) for cell in table[columns["image"]]]
    return take_boxes(path, table, columns)


def _check_on_images(path: Path, boxes: pd.DataFrame, said: Mapping[str, tuple[int, int]]) -> None:
    """Compare boxes with the sizes of their images, read from the headers. UserError if one ends outside.

    ``said``: height and width of images as the table has them; where the file's differ, boxes would be out of place.
    """
    sizes = image_sizes({name: path.parent / name for name in sorted(set(boxes["image_id"]))})
    for name, (height, width) in sizes.items():
        if said.get(name, (height, width)) != (height, width):
            raise UserError(
                f"{path} says that image {plain(name)} has {said[name][1]} x {said[name][0]} pixels, its file has "
                f"{width} x {height}: the boxes are of another copy; scale them, or take the images that they are of"
            )
    check_inside(boxes, sizes, str(path))


def _check_ids(path: Path, column: str, ids: Sequence[str]) -> None:
    if not ids:
        raise UserError(f"{path} has a header but no rows")
    if "" in ids:
        raise UserError(f"{path} row {ids.index('') + 2} has no file in column {column}")
    if twice := first_repeated(ids):
        name, before, row = twice
        raise UserError(
            f"{path} has image {plain(name)} in more than one row ({before + 2} and {row + 2}); give each image one row"
        )


def _patients(path: Path, table: Table, columns: dict[str, str], ids: list[str]) -> tuple[list[str], list[str]]:
    if "patient" not in columns:
        return ids, ["No patient column: each image counts as a patient."]
    patients = table[columns["patient"]]
    row = next((row for row, cell in enumerate(patients) if is_empty(cell)), None)
    if row is not None:
        said = f" ({patients[row]!r} is none)" if patients[row] else ""
        raise UserError(f"{path} row {row + 2} has no patient in column {columns['patient']}{said}; name one")
    return patients, [f"Patients: column {columns['patient']}."]


def _splits(
    path: Path, table: Table, columns: dict[str, str], patients: list[str]
) -> tuple[list[str], list[str]]:  # fmt: skip
    """Split of each row, from the split column or by patient."""
    if "split" not in columns:
        return by_patient(patients, FRACTIONS).tolist(), ["No split column: 70/10/20 by patient, seed 42."]
    cells = table[columns["split"]]
    splits = [SPLIT_NAMES.get(cell.lower(), "") for cell in cells]
    if "" in splits:
        row = splits.index("")
        raise UserError(f"{path} row {row + 2} has split {plain(cells[row])!r}; use train, val or test")
    if missing := [name for name in ("train", "test") if name not in splits]:
        raise UserError(f"{path} has no {missing[0]} rows in column {columns['split']}; add some or remove the column")
    if shared := shared_patients(patients, splits):
        raise UserError(
            f"{path} puts {len(shared):,} patient(s) in more than one split ({some(shared)}): test results would leak; "
            f"mend column {columns['split']}, or remove it to split by patient"
        )
    if "val" in splits:
        return splits, []
    dealt = iter(by_patient([p for p, s in zip(patients, splits, strict=True) if s == "train"], {"train": 7, "val": 1}))
    splits = [str(next(dealt)) if split == "train" else split for split in splits]
    return splits, ["No validation rows: an eighth of the training rows, by patient, became validation."]


def _masks(
    path: Path, table: Table, columns: dict[str, str], ids: list[str], sidecar: Sidecar
) -> pd.DataFrame | None:  # fmt: skip
    """A row per class for the images that have a mask file; its size must be the image's."""
    if "mask" not in columns:
        return None
    cells = [(n, cell) for n, text in zip(ids, table[columns["mask"]], strict=True) if (cell := normal_path(text))]
    find_files(path, [cell for _, cell in cells])
    classes = sidecar.mask_classes or {sidecar.mask_label: np.nan}
    ignore = np.nan if sidecar.mask_ignore is None else float(sidecar.mask_ignore)
    masks = pd.DataFrame(
        [(name, label, cell, value, ignore) for name, cell in cells for label, value in classes.items()],
        columns=["image_id", "label", "path", "value", "ignore"],
    ).astype({"value": float, "ignore": float})
    check_sizes(masks, {name: path.parent / name for name in ids}, path.parent)
    return masks
