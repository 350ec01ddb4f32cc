"""MS-CXR: boxes of the phrases of reports, on radiographs of MIMIC-CXR-JPG. Boecking et al., ECCV 2022."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cxrbench.data.annotations.boxes import SIDES, image_sizes
from cxrbench.data.datasets.layout import File, Layout, image_table, subset_note
from cxrbench.data.manifest import Dataset, Manifest
from cxrbench.data.splits import by_patient
from cxrbench.data.tables import Table, read_json
from cxrbench.errors import UserError
from cxrbench.files.names import plain, some

TITLE = "MS-CXR"
SOURCE = "https://physionet.org/content/ms-cxr/ (images: https://physionet.org/content/mimic-cxr-jpg/)"
LICENCE = "PhysioNet Credentialed Health Data License 1.5.0: training and a signed agreement; no redistribution"
LINEAGE = ("ms-cxr", "mimic")
OFFICIAL = 1_162  # pairs of an image and a phrase
FRACTIONS = {"train": 0.7, "val": 0.15, "test": 0.15}
VERSIONS = ("1.1.0", "1.0.0")
FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Lung Opacity", "Pleural Effusion", "Pneumonia",
    "Pneumothorax",
)  # fmt: skip
COLUMNS = ("dicom_id", "category_name", "label_text", "path", "x", "y", "w", "h", "image_width", "image_height")
SPLIT_NAMES = {"train": "train", "val": "val", "validate": "val", "test": "test"}
PLACE = re.compile(r"files/p\d\d/p(\d+)/s(\d+)/([^/]+)\.jpg")
SAME_SHAPE = 0.01  # relative difference of aspect ratios


class MimicPlace(NamedTuple):
    """Where a MIMIC image lies, and whose it is."""

    path: str
    patient: str
    study: str


def read(root: Path) -> Manifest:
    """Read ``MS_CXR_Local_Alignment_v1.1.0.csv`` (or ``.json`` in COCO's form, or v1.0.0 of either).

    The images are MIMIC-CXR-JPG's and no part of the download: ``files/p10/...`` is looked for beside the table, then
    in ``mimic/`` beside this folder. One row is one box; a pair of an image and a phrase may have several. The boxes of
    the manifest have a further column, ``phrase``; a box that several phrases share counts once, with all of them. If
    MIMIC's images are a smaller copy, boxes are scaled from the size that the table says.

    There are no image labels: a finding that no phrase speaks of may well be there, so that none is negative, and what
    a detector finds beside the boxes counts as false though it may be right. Version 1.1.0 has a column ``split``,
    which is followed, but for images of patients who are in a later one of train, val and test: these are left out.
    Version 1.0.0 has none: 70/15/15 by patient. Neither is MIMIC's own split, so an encoder that was trained on
    MIMIC's training images may have seen test images.
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    table, where = _table(layout)
    places = _places(layout, table, where)
    splits, notes = _splits(layout, table, places, where)
    ids = sorted(splits)
    files = _files(layout, {name: places[name] for name in ids})
    boxes, said = _boxes(layout, table, files, where)
    patients = [places[name].patient for name in ids]
    pairs = len(set(zip(table["dicom_id"], table["category_name"], table["label_text"], strict=True)))
    return Manifest(
        name="ms-cxr",
        root=root,
        images=image_table(
            ids, files, patients=patients, splits=[splits[name] for name in ids], views=[""] * len(ids), labels=(),
            targets=np.zeros((len(ids), 0), np.float32), studies=[places[name].study for name in ids],
        ),
        labels=(),
        boxes=boxes,
        lineage=LINEAGE,
        source=SOURCE,
        licence=LICENCE,
        notes=(
            "Findings without a phrase have no box, though they may be there.",
            *notes, *said, *subset_note(pairs, OFFICIAL, "pairs of an image and a phrase"),
        ),
    )  # fmt: skip


def _table(layout: Layout) -> tuple[Table, str]:
    """The columns of the CSV, or those that the COCO JSON has; and the file's name."""
    names = [f"MS_CXR_Local_Alignment_v{version}.{end}" for version in VERSIONS for end in ("csv", "json")]
    path = layout.first(*names)
    table = layout.table(path, COLUMNS) if path.suffix == ".csv" else _from_coco(layout, path)
    if unknown := sorted(set(table["category_name"]) - set(FINDINGS)):
        raise layout.error(f"{path.name} has the unknown category {plain(unknown[0])!r}")
    return table, path.name


def _from_coco(layout: Layout, path: Path) -> Table:
    """The CSV's columns from a COCO JSON, whose annotations have ``label_text`` and, in v1.1.0, ``split``."""
    rows = []
    try:
        coco = read_json(path)
        categories = {one["id"]: str(one["name"]) for one in coco["categories"]}
        images = {one["id"]: one for one in coco["images"]}
        splits = all("split" in one for one in coco["annotations"])
        for one in coco["annotations"]:
            image = images[one["image_id"]]
            rows.append([
                Path(image["file_name"]).stem, categories[one["category_id"]], one["label_text"], image["path"],
                *one["bbox"], image["width"], image["height"], *([one["split"]] if splits else []),
            ])  # fmt: skip
        names = [*COLUMNS, *(["split"] if splits else [])]
        columns = zip(*rows, strict=True) if rows else [()] * len(names)
        return {name: [str(cell) for cell in column] for name, column in zip(names, columns, strict=True)}
    except (KeyError, TypeError, ValueError, AttributeError, UserError) as error:
        raise layout.error(
            f"{path.name} is no COCO JSON with images, categories and annotations ({plain(repr(error))})"
        ) from error


def _places(layout: Layout, table: Table, where: str) -> dict[str, MimicPlace]:
    """Path, patient and study of each image, by dicom_id."""
    places: dict[str, MimicPlace] = {}
    for name, path in zip(table["dicom_id"], table["path"], strict=True):
        if (found := PLACE.fullmatch(path)) is None or found[3] != name:
            wanted = f"files/pNN/pPATIENT/sSTUDY/{plain(name)}.jpg"
            raise layout.error(f"{where}: image {plain(name)} has the path {plain(path)!r}, not {wanted}")
        if places.setdefault(name, place := MimicPlace(path, found[1], found[2])) != place:
            raise layout.error(f"{where}: image {plain(name)} has two paths")
    if not places:
        raise layout.error(f"{where} has no annotations")
    return places


def _splits(
    layout: Layout, table: Table, places: Mapping[str, MimicPlace], where: str
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Split of each image that takes part, and notes."""
    if "split" not in table:
        ids = sorted(places)
        dealt = by_patient([places[name].patient for name in ids], FRACTIONS)
        return dict(zip(ids, map(str, dealt), strict=True)), (f"{where} has no split column: 70/15/15 by patient.",)
    if unknown := sorted(set(table["split"]) - set(SPLIT_NAMES)):
        raise layout.error(f"{where} has the unknown split {plain(unknown[0])!r}")
    splits: dict[str, str] = {}
    for name, split in zip(table["dicom_id"], table["split"], strict=True):
        if splits.setdefault(name, SPLIT_NAMES[split]) != SPLIT_NAMES[split]:
            raise layout.error(f"{where} puts image {plain(name)} into two splits")
    order = ("train", "val", "test")
    last: dict[str, int] = {}
    for name, split in splits.items():
        patient = places[name].patient
        last[patient] = max(last.get(patient, 0), order.index(split))
    out = sorted(name for name, split in splits.items() if order.index(split) < last[places[name].patient])
    kept = {name: split for name, split in splits.items() if name not in set(out)}
    left_out = f"{len(out):,} image(s) of patients who validate or are tested were left out of the splits before"
    return kept, ((f"{left_out}: {some(out)}.",) if out else ())


def _files(layout: Layout, places: Mapping[str, MimicPlace]) -> dict[str, File]:
    """The file of each image: beside the table, or in MIMIC's folder beside this one."""
    files: dict[str, File] = {}
    for name, place in places.items():
        for path in (place.path, f"../mimic/{place.path}"):
            try:
                files[name] = File(path, os.stat(layout.root / path).st_size)
                break
            except OSError:
                continue
    if absent := [place.path for name, place in places.items() if name not in files]:
        raise layout.error(
            f"{len(absent):,} image(s) are neither in files/ here nor in ../mimic/files/ ({some(absent)}): they are "
            "MIMIC-CXR-JPG's; put or link its folder files/ here, or keep it in mimic/ beside this folder"
        )
    return files


def _boxes(layout: Layout, table: Table, files: Mapping[str, File], where: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """One row per box with the phrases that it has, in pixels of the stored image, and notes."""
    numbers = {name: layout.numbers(table, name, where) for name in ("x", "y", "w", "h", "image_width", "image_height")}
    stated = pd.DataFrame({
        "image_id": table["dicom_id"], "label": table["category_name"], "x": numbers["x"], "y": numbers["y"],
        "width": numbers["w"], "height": numbers["h"], "phrase": table["label_text"],
        "image_width": numbers["image_width"], "image_height": numbers["image_height"],
    })  # fmt: skip
    stated = stated.loc[stated["image_id"].isin(list(files)).to_numpy()].reset_index(drop=True)
    sizes = image_sizes({name: layout.root / file.path for name, file in files.items()})
    scaled, notes = _scaled(layout, stated, sizes, where)
    key = ["image_id", "label", *SIDES]
    phrases = scaled.groupby(key, sort=False)["phrase"].agg(lambda of: " | ".join(dict.fromkeys(of)))
    boxes = pd.DataFrame(phrases.reset_index())
    if shared := len(scaled) - len(boxes):
        notes += (f"{shared:,} box row(s) of {where} repeat a box with another phrase, or the same: each counts once.",)
    boxes, cut = layout.cut_boxes(boxes, sizes, where)
    return boxes, (*notes, *cut)


def _scaled(
    layout: Layout, boxes: pd.DataFrame, sizes: Mapping[str, tuple[int, int]], where: str
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Boxes in pixels of the stored images, should these be smaller or larger copies of those that were annotated."""
    stated = boxes[["image_height", "image_width"]].to_numpy(np.float64)
    stored = np.array([sizes.get(name, tuple(size)) for name, size in zip(boxes["image_id"], stated, strict=True)])
    stored = stored.reshape(-1, 2)
    ratio = stored / stated
    odd = np.flatnonzero(~(np.abs(ratio[:, 0] / ratio[:, 1] - 1) <= SAME_SHAPE))
    if odd.size:
        name, (height, width), (h, w) = boxes["image_id"].iloc[odd[0]], stated[odd[0]], stored[odd[0]]
        raise layout.error(
            f"{where}: image {plain(str(name))} was annotated at {width:g} x {height:g} pixels and is stored at "
            f"{w:g} x {h:g}, which is no copy at another size"
        )
    other = (stored != stated).any(axis=1)
    images = len(set(boxes["image_id"].to_numpy()[other].tolist()))
    down, across = ratio.T
    scaled = boxes.assign(
        x=boxes["x"] * across, width=boxes["width"] * across, y=boxes["y"] * down, height=boxes["height"] * down
    )
    return scaled.drop(columns=["image_width", "image_height"]), (
        (f"{images:,} image(s) are stored at another size than they were annotated at: their boxes were scaled.",)
        if images
        else ()
    )


DATASET = Dataset("ms-cxr", TITLE, SOURCE, LICENCE, read, lineage=LINEAGE, patients="mimic")
