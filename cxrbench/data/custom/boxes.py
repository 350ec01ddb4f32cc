"""A user's own boxes: a CSV with one row per box, or a COCO JSON."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cxrbench.data.annotations.boxes import SIDES, check_areas, check_inside
from cxrbench.data.custom.labels import SEPARATOR
from cxrbench.data.datasets.layout import Table
from cxrbench.data.decode.images import image_size
from cxrbench.errors import UserError

CORNERS = ["x_min", "y_min", "x_max", "y_max"]
AGREEING = ("patient", "split", "study", "view", "mask")


class Boxed(NamedTuple):
    """A table with one row per image, labels joined by ``|``, and boxes (as ``Manifest.boxes``), if there are any."""

    table: Table
    boxes: pd.DataFrame | None
    notes: tuple[str, ...] = ()


def take_boxes(path: Path, table: Table, columns: Mapping[str, str]) -> Boxed:
    """Take the boxes out of a CSV with one row per box: ``image, label, x, y, width, height[, patient, split, ...]``.

    Pixels of the stored image from its upper left corner; ``x_min, y_min, x_max, y_max`` will do, too. An image with
    several boxes has several rows; one without a box has one row whose box cells are empty. An image is positive for
    the labels of its boxes. A table without such columns is given back as it is. ``columns``: roles of columns, as
    ``find_columns`` gives them. Raises UserError for a box with gaps or without area or label, and for rows of one
    image that disagree.
    """
    plain = {name.lower().replace(" ", "_").replace("-", "_"): name for name in table}
    named = next(([plain[side] for side in form] for form in (SIDES, CORNERS) if set(form) <= set(plain)), None)
    if named is None:
        return Boxed(table, None)
    if "label" not in columns:
        raise UserError(f"{path} has boxes, but no column 'label' that says of what")
    try:
        values = np.array([[cell or "nan" for cell in table[name]] for name in named], np.float64).T
    except ValueError as error:
        raise UserError(f"{path}: columns {', '.join(named)} are not all numbers ({error})") from error
    column = columns["label"]
    labels = [column if cell == "1" else "" if cell == "0" else cell for cell in table[column]]
    drawn = ~np.isnan(values).any(axis=1)
    if (torn := np.flatnonzero(~drawn & ~np.isnan(values).all(axis=1))).size:
        raise UserError(f"{path} row {torn[0] + 2}: fill all of {', '.join(named)}, or none where there is no box")
    if blank := [row for row in np.flatnonzero(drawn) if not labels[row]]:
        raise UserError(f"{path} row {blank[0] + 2} has a box without a label in column {column}")
    if "x" not in plain:
        values[:, 2:] -= values[:, :2]
    images = [cell.replace("\\", "/") for cell in table[columns["image"]]]
    rows = [(images[row], labels[row], *values[row]) for row in np.flatnonzero(drawn)]
    boxes = pd.DataFrame(rows, columns=["image_id", "label", *SIDES])
    check_areas(boxes, str(path))
    kept = {name: cells for name, cells in table.items() if name not in named}
    kept[columns["image"]] = images
    return Boxed(_one_row_per_image(path, kept, columns, boxes), boxes)


def _one_row_per_image(path: Path, table: Table, columns: Mapping[str, str], boxes: pd.DataFrame) -> Table:
    """The first row of each image, with the labels of all of its boxes."""
    first: dict[str, int] = {}
    images = table[columns["image"]]
    for row, image in enumerate(images):
        start = first.setdefault(image, row)
        for name in (columns[role] for role in AGREEING if role in columns):
            if table[name][row] != table[name][start]:
                raise UserError(f"{path} row {row + 2}: image {image} has another {name} than in row {start + 2}")
    kept = {name: [cells[row] for row in first.values()] for name, cells in table.items()}
    return kept | {columns["label"]: _labels(kept[columns["image"]], boxes)}


def _labels(images: Sequence[str], boxes: pd.DataFrame) -> list[str]:
    """The labels of each image's boxes, joined."""
    found: dict[str, set[str]] = {}
    for image, label in zip(boxes["image_id"], boxes["label"], strict=True):
        found.setdefault(image, set()).add(label)
    return [SEPARATOR.join(sorted(found.get(image, ()))) for image in images]


def read_coco(path: Path) -> Boxed:
    """Read a COCO JSON: ``images`` (id, file_name), ``categories`` (id, name) and ``annotations`` with boxes.

    An annotation has ``image_id``, ``category_id`` and ``bbox`` (x, y, width, height). File names are relative to the
    JSON's folder, or to a folder ``images`` beside it. An image may say its ``patient_id`` and ``split``. Crowd
    annotations are left out. Raises UserError for malformed JSON, missing keys, and boxes of unknown images or
    categories.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        names = {image["id"]: str(image["file_name"]).replace("\\", "/") for image in content["images"]}
        labels = {category["id"]: str(category["name"]) for category in content["categories"]}
        drawn = [entry for entry in content["annotations"] if not entry.get("iscrowd", 0)]
        rows = [_coco_box(path, entry, names, labels) for entry in drawn]
        table: Table = {"image": list(names.values())}
        for role, key in (("patient", "patient_id"), ("split", "split")):
            if any(key in image for image in content["images"]):
                table[role] = [str(image.get(key, "")) for image in content["images"]]
    except FileNotFoundError as error:
        raise UserError(f"no file {path}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON ({error})") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is not in COCO's format ({type(error).__name__}: {error}): it has lists of images, categories and "
            "annotations"
        ) from error
    if bad := next((name for name in labels.values() if SEPARATOR in name), None):
        raise UserError(f"{path}: category {bad!r} has a {SEPARATOR} in its name; rename it")
    if not rows:
        raise UserError(f"{path} has no boxes")
    if not (path.parent / table["image"][0]).is_file() and (path.parent / "images" / table["image"][0]).is_file():
        table["image"] = [f"images/{name}" for name in table["image"]]
        rows = [(f"images/{row[0]}", *row[1:]) for row in rows]
    boxes = pd.DataFrame(rows, columns=["image_id", "label", *SIDES])
    check_areas(boxes, str(path))
    table["label"] = _labels(table["image"], boxes)
    left_out = len(content["annotations"]) - len(drawn)
    return Boxed(table, boxes, (f"{left_out:,} crowd annotations were left out.",) if left_out else ())


def check_on_images(path: Path, boxes: pd.DataFrame) -> None:
    """Compare boxes with the sizes of their images, read from the headers. Raises UserError if one ends outside."""
    names = sorted(set(boxes["image_id"]))
    with ThreadPoolExecutor(8) as pool:
        sizes = dict(zip(names, pool.map(lambda name: image_size(path.parent / name), names), strict=True))
    check_inside(boxes, sizes, str(path))


def _coco_box(
    path: Path, entry: Mapping[str, Any], names: Mapping[Any, str], labels: Mapping[Any, str]
) -> tuple[Any, ...]:
    """Image, label and sides of one annotation."""
    number = entry.get("id", "without id")
    for key, known in (("image_id", names), ("category_id", labels)):
        if entry[key] not in known:
            raise UserError(f"{path}: annotation {number} has the unknown {key} {entry[key]!r}")
    bbox = entry["bbox"]
    if len(bbox) != 4:
        raise UserError(f"{path}: annotation {number} has a bbox of {len(bbox)} numbers; it needs x, y, width, height")
    return (names[entry["image_id"]], labels[entry["category_id"]], *(float(side) for side in bbox))
