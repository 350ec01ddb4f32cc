"""A user's own dataset: one table with a row per image or per box, or a COCO JSON; no code."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cxrbench.data.annotations.boxes import check_inside, image_sizes
from cxrbench.data.attributes import ATTRIBUTES, SEXES, read_views, with_attributes, years
from cxrbench.data.custom.boxes import Boxed, take_boxes
from cxrbench.data.custom.coco import read_coco
from cxrbench.data.custom.columns import find_columns, prefixed
from cxrbench.data.custom.files import find_images, normal_path
from cxrbench.data.custom.frame import table_of
from cxrbench.data.custom.labels import find_labels
from cxrbench.data.custom.mask_columns import find_masks
from cxrbench.data.custom.quantities import find_quantities
from cxrbench.data.custom.reports import find_reports
from cxrbench.data.custom.sidecar import Sidecar, dataset_name, read_sidecar
from cxrbench.data.custom.splits import find_splits, strata_of
from cxrbench.data.datasets.layout import image_table
from cxrbench.data.manifest import QUANTITY, Manifest
from cxrbench.data.tables import Table, first_repeated, is_empty, read_separated
from cxrbench.errors import UserError
from cxrbench.files.names import plain, some

READ = {"sex": lambda cell: SEXES.get(cell.lower(), ""), "age": years}
"""What is read of a cell, "" where it says nothing."""
SEPARATORS = {";": "Cells are separated by semicolons (0,5 is 0.5).", "\t": "Cells are separated by tabs."}


def read_csv(path: Path) -> Manifest:
    """Read ``image, patient, split, labels...``; only the image column is required.

    Columns are known by name (``columns.ALIASES``) or from a file ``NAME.toml`` beside the CSV (``sidecar.py``). Image
    paths are relative to the CSV's folder, or absolute; ``FILE.npy#17`` is a row of an array. Without a patient column
    each study, or image, is a patient; without a split column patients are split 70/10/20, and where there is nothing
    to test by (no labels, numbers, masks, boxes or reports) all rows are to be trained on; without validation rows an
    eighth of the training rows become validation. A CSV with box columns has a row per box
    (``boxes.py``), and a ``.json`` is COCO's. What was decided stands in the manifest's notes. Raises UserError for a
    patient in two splits, missing files, and anything that is not clear.
    """
    path = path.expanduser().absolute()
    sidecar = read_sidecar(path.with_suffix(".toml"))
    if path.suffix.lower() == ".json":
        return _manifest(path, read_coco(path), sidecar)
    table, separator = read_separated(path)
    manifest = _of_table(path, table, sidecar)
    said = SEPARATORS.get(separator)
    return replace(manifest, notes=(*manifest.notes, said)) if said else manifest


def read_frame(frame: pd.DataFrame, folder: Path, sidecar: Sidecar) -> Manifest:
    """A DataFrame as ``read_csv`` reads the same table lying in ``folder``; ``sidecar`` says what its TOML file would.

    Errors name rows as a CSV's lines (the first is 2). Raises UserError.
    """
    path = folder.expanduser().absolute() / f"{sidecar.name or 'DataFrame'}.csv"
    return _of_table(path, table_of(frame, str(path)), sidecar)


def _of_table(path: Path, table: Table, sidecar: Sidecar) -> Manifest:
    columns = find_columns(path, table, sidecar)
    table = {**table, columns["image"]: [normal_path(cell) for cell in table[columns["image"]]]}
    return _manifest(path, take_boxes(path, table, columns), sidecar)


def _manifest(path: Path, boxed: Boxed, sidecar: Sidecar) -> Manifest:
    table, boxes, box_notes, sizes = boxed
    if boxes is not None:
        sidecar = replace(sidecar, kind="multilabel")
    columns = find_columns(path, table, sidecar)
    ids = table[columns["image"]]
    _check_ids(path, columns["image"], ids)
    files = find_images(path, ids)
    numbers = find_quantities(path, table, columns, sidecar)
    labels = find_labels(path, table, columns, sidecar, (*numbers.columns, *prefixed(table, "mask").values()))
    studies = _studies(table, columns, ids)
    patients, patient_notes = _patients(path, table, columns, studies)
    reports, report_notes = find_reports(path, table, columns, studies, patients)
    masks = find_masks(path, table, columns, ids, sidecar)
    tables = [found for found in (boxes, masks, reports) if found is not None and len(found)]
    masked = np.isin(ids, [] if masks is None else masks["image_id"].to_numpy(str))
    strata = strata_of(labels.targets, numbers.values, masked) if labels.names or numbers.names or tables else None
    splits, split_notes = find_splits(path, table, columns, patients, strata, sidecar)
    views, view_notes = read_views(table[columns["view"]]) if "view" in columns else ([""] * len(ids), ())
    images = image_table(
        ids, files, patients=patients, splits=splits, views=views, labels=labels.names, targets=labels.targets,
        studies=studies,
    ).assign(**{QUANTITY + name: numbers.values[:, i] for i, name in enumerate(numbers.names)})  # fmt: skip
    if boxes is not None:
        _check_on_images(path, boxes, sizes)
    known = {name: columns[name] for name in ATTRIBUTES if name in columns}
    images, group_notes = with_attributes(images, table, known), _of_groups(table, known)
    for name, members in sidecar.groups.items():
        if absent := [member for member in members if member not in labels.names]:
            raise UserError(f"{path.with_suffix('.toml')}: group {name} has {plain(absent[0])!r}, which is not a label")
    return Manifest(
        name=dataset_name(path, sidecar),
        root=path.parent,
        images=images,
        labels=labels.names,
        kind=labels.kind,
        groups=sidecar.groups,
        boxes=boxes,
        masks=masks,
        masks_complete=sidecar.masks_complete,
        reports=reports,
        quantities=numbers.names,
        lineage=sidecar.lineage,
        source=sidecar.source or str(path),
        licence=sidecar.licence,
        notes=(
            *patient_notes, *split_notes, *labels.notes, *numbers.notes, *report_notes, *box_notes, *group_notes,
            *view_notes,
        ),
    )  # fmt: skip


def _studies(table: Table, columns: Mapping[str, str], ids: Sequence[str]) -> list[str]:
    """The study of each row; an image without one is a study by itself."""
    if "study" not in columns:
        return list(ids)
    return [name if is_empty(cell) else cell for cell, name in zip(table[columns["study"]], ids, strict=True)]


def _of_groups(table: Table, known: Mapping[str, str]) -> list[str]:
    """Notes on columns that say what is known of a patient, and on cells of them that say nothing."""
    notes = [f"Not a label, but a group of patients: column {column} ({name})." for name, column in known.items()]
    for name, read in READ.items():
        if name not in known:
            continue
        strange = [cell for cell in table[known[name]] if not is_empty(cell) and not read(cell)]
        if strange:
            notes.append(
                f"{len(strange):,} cells of column {known[name]} are no {name}, and so unknown: {some(strange)}."
            )
    return notes


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


def _patients(path: Path, table: Table, columns: dict[str, str], studies: list[str]) -> tuple[list[str], list[str]]:
    """The patient of each row. Without a column of them each study is one: its images must not fall into two splits."""
    if "patient" not in columns:
        return studies, [f"No patient column: each {'study' if 'study' in columns else 'image'} counts as a patient."]
    patients = table[columns["patient"]]
    row = next((row for row, cell in enumerate(patients) if is_empty(cell)), None)
    if row is not None:
        said = f" ({patients[row]!r} is none)" if patients[row] else ""
        raise UserError(f"{path} row {row + 2} has no patient in column {columns['patient']}{said}; name one")
    return patients, [f"Patients: column {columns['patient']}."]
