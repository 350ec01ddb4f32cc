"""A dataset in COCO's JSON: images, categories and annotations with boxes."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from cxrbench.data.annotations.boxes import SIDES, check_areas, without_repeated
from cxrbench.data.custom.boxes import Boxed, joined_labels
from cxrbench.data.custom.files import normal_path
from cxrbench.data.custom.labels import SEPARATOR
from cxrbench.data.tables import Table, first_repeated, read_json
from cxrbench.errors import UserError
from cxrbench.files.names import plain, visible


def read_coco(path: Path) -> Boxed:
    """Read a COCO JSON: ``images`` (id, file_name), ``categories`` (id, name) and ``annotations`` with boxes.

    An annotation has ``image_id``, ``category_id`` and ``bbox`` (x, y, width, height). File names are relative to the
    JSON's folder, or to a folder ``images`` beside it. An image may say its ``patient_id`` and ``split``, and its
    ``width`` and ``height``, which must be the file's. Crowd annotations are left out. Raises UserError for malformed
    JSON, missing keys, ids that come twice, and boxes of unknown images or categories.
    """
    content = read_json(path)
    try:
        images, drawn = content["images"], [e for e in content["annotations"] if not e.get("iscrowd", 0)]
        names = _by_id(path, "image", [(image["id"], str(image["file_name"])) for image in images])
        names = {number: normal_path(name) for number, name in names.items()}
        labels = _by_id(path, "category", [(entry["id"], str(entry["name"])) for entry in content["categories"]])
        rows = [_box(path, entry, names, labels) for entry in drawn]
        sizes = {names[i["id"]]: (int(i["height"]), int(i["width"])) for i in images if "height" in i and "width" in i}
        table: Table = {"image": list(names.values())}
        for role, key in (("patient", "patient_id"), ("split", "split")):
            if any(key in image for image in images):
                table[role] = [_text(path, str(image.get(key, ""))).strip() for image in images]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UserError(
            f"{path} is not in COCO's format ({type(error).__name__}: {plain(str(error))}): it has lists of images, "
            "categories and annotations"
        ) from error
    if bad := next((name for name in labels.values() if SEPARATOR in name or not name.strip()), None):
        raise UserError(f"{path}: category {bad!r} has a {SEPARATOR} in its name, or no name; rename it")
    if not rows:
        raise UserError(f"{path} has no boxes")
    first = table["image"][0]
    if not os.path.isfile(path.parent / first) and os.path.isfile(path.parent / "images" / first):
        table["image"] = [f"images/{name}" for name in table["image"]]
        rows = [(f"images/{row[0]}", *row[1:]) for row in rows]
        sizes = {f"images/{name}": size for name, size in sizes.items()}
    boxes, repeats = without_repeated(pd.DataFrame(rows, columns=["image_id", "label", *SIDES]), path.name)
    check_areas(boxes, str(path))
    table["label"] = joined_labels(table["image"], boxes)
    left_out = len(content["annotations"]) - len(drawn)
    crowds = (f"{left_out:,} crowd annotations were left out.",) if left_out else ()
    return Boxed(table, boxes, (*crowds, *repeats), sizes)


def _by_id(path: Path, what: str, entries: list[tuple[Any, str]]) -> dict[Any, str]:
    """Names by id. UserError where an id comes twice, or a name is no plain text."""
    if twice := first_repeated([str(number) for number, _ in entries]):
        raise UserError(f"{path} has two {what} entries with the id {plain(twice[0])}")
    return {number: _text(path, name) for number, name in entries}


def _text(path: Path, name: str) -> str:
    if visible(name) != name:
        raise UserError(f"{path} has control characters in the name {plain(name)!r}")
    return name


def _box(path: Path, entry: Mapping[str, Any], names: Mapping[Any, str], labels: Mapping[Any, str]) -> tuple[Any, ...]:
    """Image, label and sides of one annotation."""
    number = plain(str(entry.get("id", "without id")))
    for key, known in (("image_id", names), ("category_id", labels)):
        if entry[key] not in known:
            raise UserError(f"{path}: annotation {number} has the unknown {key} {plain(repr(entry[key]))}")
    bbox = entry["bbox"]
    if len(bbox) != 4:
        raise UserError(f"{path}: annotation {number} has a bbox of {len(bbox)} numbers; it needs x, y, width, height")
    sides = [float(side) for side in bbox]
    if not all(map(math.isfinite, sides)):
        raise UserError(f"{path}: annotation {number} has a bbox that is not all numbers")
    return (names[entry["image_id"]], labels[entry["category_id"]], *sides)
