"""Chest ImaGenome's scene graphs: a JSON file per image, with the boxes of anatomical regions, in a zip or unpacked."""

import json
import zipfile
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

from cxrbench.data.annotations.masks import Box
from cxrbench.data.datasets.layout import Layout
from cxrbench.data.tables import read_text
from cxrbench.errors import UserError

ARCHIVE = "scene_graph.zip"
ENDING = "_SceneGraph.json"
DEPTH = 4  # folders below the root in which they are looked for
SIDES = ("original_x1", "original_y1", "original_x2", "original_y2")


def folders_beside(layout: Layout, known: str) -> list[str]:
    """The folders in the root, without the one of this name and hidden ones: there may be many files in it."""
    return sorted(
        p.name for p in layout.root.iterdir() if p.is_dir() and p.name != known and not p.name.startswith(".")
    )


def region_boxes(layout: Layout, ids: Collection[str]) -> dict[str, dict[str, Box]]:
    """Boxes of regions, in pixels of the original image, by DICOM id and region; empty without scene graphs.

    They are looked for in the folders beside ``files``. Only the graphs of ``ids`` are read. A region without an area
    is not there. Raises UserError for damaged files.
    """
    wanted = {name + ENDING: name for name in ids}
    found: dict[str, dict[str, Box]] = {}
    for file, text, where in _graphs(layout, wanted):
        try:
            found[wanted[file]] = _boxes(json.loads(text()))
        except (UserError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            raise layout.error(f"{where} is no scene graph with objects that have {', '.join(SIDES)}") from error
    return found


def _graphs(layout: Layout, wanted: Collection[str]) -> Iterable[tuple[str, Callable[[], Any], str]]:
    """The files that are wanted: name, what reads it, and where it lies."""
    folders = folders_beside(layout, "files")
    for file in layout.files(folders, (".json",), parts=DEPTH + 2).values():
        if (name := file.path.rpartition("/")[2]) in wanted:
            yield name, lambda file=file: read_text(layout.root / file.path), file.path
    places = ["", *(f"{folder}/{'*/' * depth}" for depth in range(DEPTH) for folder in folders)]
    archives = [path for place in places for path in sorted(layout.root.glob(place + ARCHIVE))]
    for archive in archives[:1]:
        try:
            with zipfile.ZipFile(archive) as opened:
                for entry in opened.namelist():
                    if (name := Path(entry).name) in wanted:
                        yield name, lambda entry=entry: opened.read(entry), f"{archive.name}: {entry}"
        except (OSError, zipfile.BadZipFile) as error:
            raise layout.error(f"{archive.name} cannot be read ({error}); download it again") from error


def _boxes(graph: Any) -> dict[str, Box]:
    boxes = {}
    for region in graph["objects"]:
        left, top, right, bottom = (float(region[name]) for name in SIDES)
        if right > left and bottom > top:
            boxes[str(region["bbox_name"])] = Box(left, top, right - left, bottom - top)
    return boxes
