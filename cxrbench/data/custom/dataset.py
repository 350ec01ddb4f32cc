"""A user's own dataset: one CSV with a row per image or per box, or a COCO JSON; no code."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cxrbench.data.annotations.masks import check_sizes
from cxrbench.data.custom.boxes import Boxed, check_on_images, read_coco, take_boxes
from cxrbench.data.custom.columns import Sidecar, find_columns, read_sidecar
from cxrbench.data.custom.labels import find_labels
from cxrbench.data.datasets.layout import File, Table, image_table, read_table, some
from cxrbench.data.manifest import Manifest
from cxrbench.data.splits import by_patient, shared_patients
from cxrbench.errors import UserError

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
    table, boxes, box_notes = _read(path, sidecar := read_sidecar(path.with_suffix(".toml")))
    if boxes is not None:
        sidecar = replace(sidecar, kind="multilabel")
    columns = find_columns(path, table, sidecar)
    ids = [cell.replace("\\", "/") for cell in table[columns["image"]]]
    _check_ids(path, columns["image"], ids)
    labels = find_labels(path, table, columns, sidecar)
    patients, patient_notes = _patients(path, table, columns, ids)
    splits, split_notes = _splits(path, table, columns, patients)
    views = [VIEWS.get(cell.upper(), "") for cell in table[columns["view"]]] if "view" in columns else [""] * len(ids)
    images = image_table(
        ids, _files(path, ids), patients=patients, splits=splits, views=views, labels=labels.names,
        targets=labels.targets,
    )  # fmt: skip
    if boxes is not None:
        check_on_images(path, boxes)
    if "study" in columns:
        images["study_id"] = [cell or name for cell, name in zip(table[columns["study"]], ids, strict=True)]
    for name, members in sidecar.groups.items():
        if absent := [member for member in members if member not in labels.names]:
            raise UserError(f"{path.with_suffix('.toml')}: group {name} has {absent[0]!r}, which is not a label")
    return Manifest(
        name=sidecar.name or (path.parent.name if path.stem == "labels" else path.stem),
        root=path.parent,
        images=images,
        labels=labels.names,
        kind=labels.kind,
        groups=sidecar.groups,
        boxes=boxes,
        masks=_masks(path, table, columns, ids, sidecar),
        masks_complete=sidecar.masks_complete,
        lineage=sidecar.lineage,
        source=sidecar.source or str(path),
        licence=sidecar.licence,
        notes=(*patient_notes, *split_notes, *labels.notes, *box_notes),
    )


def _read(path: Path, sidecar: Sidecar) -> Boxed:
    """The table, one row per image, and the boxes, if there are any."""
    if path.suffix.lower() == ".json":
        return read_coco(path)
    table = read_table(path)
    return take_boxes(path, table, find_columns(path, table, sidecar))


def _check_ids(path: Path, column: str, ids: Sequence[str]) -> None:
    if not ids:
        raise UserError(f"{path} has a header but no rows")
    if "" in ids:
        raise UserError(f"{path} row {ids.index('') + 2} has no file in column {column}")
    if len(set(ids)) < len(ids):
        twice = next(name for name in ids if ids.count(name) > 1)
        raise UserError(f"{path} has image {twice} in more than one row; give each image one row")


def _patients(path: Path, table: Table, columns: dict[str, str], ids: list[str]) -> tuple[list[str], list[str]]:
    if "patient" not in columns:
        return ids, ["No patient column: each image counts as a patient."]
    patients = table[columns["patient"]]
    if "" in patients:
        raise UserError(f"{path} row {patients.index('') + 2} has no patient in column {columns['patient']}")
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
        raise UserError(f"{path} row {row + 2} has split {cells[row]!r}; use train, val or test")
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


def _files(path: Path, names: Sequence[str]) -> dict[str, File]:
    """Size of each file, reading each folder once. UserError names the first few that are missing."""
    wanted: dict[str, dict[str, str]] = {}
    for name in names:
        folder, _, base = name.rpartition("/")
        wanted.setdefault(folder or ("/" if name.startswith("/") else ""), {})[base] = name
    found: dict[str, File] = {}
    for folder, bases in wanted.items():
        where = path.parent / folder
        if not where.is_dir():
            continue
        with os.scandir(where) as entries:
            for entry in entries:
                if entry.name in bases and entry.is_file():
                    found[bases[entry.name]] = File(bases[entry.name], entry.stat().st_size)
    if missing := [name for name in names if name not in found]:
        raise UserError(
            f"{path} names {len(missing):,} file(s) that are not there ({some(missing)}); paths are relative to "
            f"{path.parent}"
        )
    return found


def _masks(
    path: Path, table: Table, columns: dict[str, str], ids: list[str], sidecar: Sidecar
) -> pd.DataFrame | None:  # fmt: skip
    """A row per class for the images that have a mask file; its size must be the image's."""
    if "mask" not in columns:
        return None
    cells = [(name, cell.replace("\\", "/")) for name, cell in zip(ids, table[columns["mask"]], strict=True) if cell]
    _files(path, [cell for _, cell in cells])
    classes = sidecar.mask_classes or {sidecar.mask_label: np.nan}
    ignore = np.nan if sidecar.mask_ignore is None else float(sidecar.mask_ignore)
    masks = pd.DataFrame(
        [(name, label, cell, value, ignore) for name, cell in cells for label, value in classes.items()],
        columns=["image_id", "label", "path", "value", "ignore"],
    ).astype({"value": float, "ignore": float})
    check_sizes(masks, {name: path.parent / name for name in ids}, path.parent)
    return masks
