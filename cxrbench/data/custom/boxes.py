"""A user's own boxes: a CSV with one row per box."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cxrbench.data.annotations.boxes import SIDES, check_areas, without_repeated
from cxrbench.data.custom.columns import plain_name
from cxrbench.data.custom.labels import SEPARATOR
from cxrbench.data.tables import Table, is_empty
from cxrbench.errors import UserError
from cxrbench.files.names import plain

CORNERS = (
    ("x_min", "y_min", "x_max", "y_max"), ("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"),
)  # fmt: skip
EDGES = (("x", "y", "width", "height"), ("x", "y", "w", "h"))
TELLING = {name: form for form in CORNERS[:3] for name in form}
"""Names of columns that can be nothing but part of a box."""
IN_ONE_CELL = ("bbox", "box", "bounding_box", "boxes", "bboxes")
NOTHING = ("no finding", "no findings", "normal", "negative", "healthy", "background", "nothing")
"""Labels that say that there is nothing to draw."""
AGREEING = ("patient", "split", "study", "view", "mask")


class Boxed(NamedTuple):
    """A table with one row per image, labels joined by ``|``, and boxes (as ``Manifest.boxes``), if there are any.

    ``sizes``: height and width that the table itself says of images.
    """

    table: Table
    boxes: pd.DataFrame | None
    notes: tuple[str, ...] = ()
    sizes: Mapping[str, tuple[int, int]] = {}


def take_boxes(path: Path, table: Table, columns: Mapping[str, str]) -> Boxed:
    """Take the boxes out of a CSV with one row per box: ``image, label, x, y, width, height[, patient, split, ...]``.

    Pixels of the stored image from its upper left corner; ``x, y, w, h`` or corners (``CORNERS``) will do, too. An
    image with several boxes has several rows; one without a box has one row whose box cells are empty. An image is
    positive for the labels of its boxes. A table without such columns is given back as it is. ``columns``: roles of
    columns, as ``find_columns`` gives them; the image column holds normal paths. Raises UserError for columns of boxes
    that are not complete, a box with gaps or without area or label, a label without a box (but for ``NOTHING``), and
    rows of one image that disagree.
    """
    named, corners = _box_columns(path, table)
    if not named:
        return Boxed(table, None)
    if "label" not in columns:
        raise UserError(f"{path} has boxes ({', '.join(named)}), but no column 'label' that says of what")
    try:
        cells = [["nan" if is_empty(cell) else cell for cell in table[name]] for name in named]
        values = np.array(cells, np.float64).T
    except ValueError as error:
        raise UserError(f"{path}: columns {', '.join(named)} are not all numbers ({plain(str(error))})") from error
    column, images = columns["label"], table[columns["image"]]
    meant = {"1": column, "1.0": column, "0": "", "0.0": ""}
    labels = [meant.get(cell, "" if is_empty(cell) else cell) for cell in table[column]]
    drawn = ~np.isnan(values).any(axis=1)
    if (torn := np.flatnonzero(~drawn & ~np.isnan(values).all(axis=1))).size:
        raise UserError(f"{path} row {torn[0] + 2}: fill all of {', '.join(named)}, or none where there is no box")
    if blank := [row for row in np.flatnonzero(drawn) if not labels[row]]:
        raise UserError(f"{path} row {blank[0] + 2} has a box without a label in column {column}")
    if corners:
        values[:, 2:] -= values[:, :2]
    notes = _without_box(path, labels, np.flatnonzero(~drawn).tolist())
    rows = [(images[row], labels[row], *values[row]) for row in np.flatnonzero(drawn)]
    boxes, repeats = without_repeated(pd.DataFrame(rows, columns=["image_id", "label", *SIDES]), path.name)
    check_areas(boxes, str(path))
    kept = {name: cells for name, cells in table.items() if name not in named}
    return Boxed(_one_row_per_image(path, kept, columns, boxes), boxes, (*notes, *repeats))


def _box_columns(path: Path, table: Table) -> tuple[list[str], bool]:
    """The four columns of boxes (none if there are none), and whether they are corners. UserError for a part."""
    spellings = {plain_name(name): name for name in table}
    for forms, corners in ((EDGES[:1], False), (CORNERS, True), (EDGES[1:], False)):
        for form in forms:
            if set(form) <= set(spellings):
                return [spellings[side] for side in form], corners
    if part := next((name for name in spellings if name in TELLING), None):
        lacking = [side for side in TELLING[part] if side not in spellings]
        raise UserError(f"{path} has the column {spellings[part]}, but not {', '.join(lacking)}: boxes need all four")
    if {"x", "y"} <= set(spellings):
        raise UserError(f"{path} has the columns x and y, but not width and height: boxes need all four")
    if whole := next((name for name in IN_ONE_CELL if name in spellings), None):
        raise UserError(
            f"{path}: column {spellings[whole]} holds whole boxes, which may mean x, y, width, height or corners: give "
            "each number a column of its own, named x, y, width, height or x_min, y_min, x_max, y_max"
        )
    return [], False


def _without_box(path: Path, labels: Sequence[str], rows: Sequence[int]) -> list[str]:
    """A note on rows whose label says that there is nothing to draw. UserError for any other label without a box."""
    said = {row: labels[row] for row in rows if labels[row]}
    if torn := [row for row, label in said.items() if label.lower().replace("_", " ") not in NOTHING]:
        raise UserError(
            f"{path} row {torn[0] + 2} has the label {plain(said[torn[0]])!r}, but no box ({len(torn):,} such row(s)): "
            "draw it, or leave the label empty where there is nothing to draw"
        )
    names = ", ".join(sorted(set(said.values())))
    return [f"{len(said):,} row(s) without a box say {names}: taken as images without a box."] if said else []


def _one_row_per_image(path: Path, table: Table, columns: Mapping[str, str], boxes: pd.DataFrame) -> Table:
    """The first row of each image, with the labels of all of its boxes."""
    first: dict[str, int] = {}
    images = table[columns["image"]]
    compared = [(name, table[name]) for name in (columns[role] for role in AGREEING if role in columns)]
    for row, image in enumerate(images):
        start = first.setdefault(image, row)
        for name, cells in compared:
            if cells[row] != cells[start]:
                raise UserError(
                    f"{path} row {row + 2}: image {plain(image)} has another {name} than in row {start + 2}"
                )
    kept = {name: [cells[row] for row in first.values()] for name, cells in table.items()}
    return kept | {columns["label"]: joined_labels(kept[columns["image"]], boxes)}


def joined_labels(images: Sequence[str], boxes: pd.DataFrame) -> list[str]:
    """The labels of each image's boxes, joined."""
    found: dict[str, set[str]] = {}
    for image, label in zip(boxes["image_id"], boxes["label"], strict=True):
        found.setdefault(image, set()).add(label)
    return [SEPARATOR.join(sorted(found.get(image, ()))) for image in images]
