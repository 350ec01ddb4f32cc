"""Lungs and lung zones of MIMIC-CXR: PhysioNet's lung-segment-mimic-cxr (Chen et al., 2022) and Chest ImaGenome."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from cxrbench.data.annotations.masks import Box
from cxrbench.data.annotations.rle import encode_counts
from cxrbench.data.datasets.layout import File, Layout, image_table, subset_note
from cxrbench.data.datasets.segmentation.lung_pictures import Side, box_mask, lung_mask, two_lungs
from cxrbench.data.datasets.segmentation.scene_graphs import folders_beside, region_boxes
from cxrbench.data.manifest import SPLITS, Dataset, Manifest
from cxrbench.data.splits import by_patient
from cxrbench.errors import UserError
from cxrbench.files.names import some

TITLE = "MIMIC-CXR lungs and zones"
SOURCE = (
    "https://physionet.org/content/lung-segment-mimic-cxr/1.0.0/, with zones of "
    "https://physionet.org/content/chest-imagenome/ and images of https://physionet.org/content/mimic-cxr-jpg/"
)
LICENCE = "PhysioNet Credentialed Health Data License 1.5.0: training and a signed agreement; no redistribution"
LINEAGE = ("mimic-lungs", "mimic")
OFFICIAL = 1_141
EXTENSIONS = (".png", ".jpg", ".jpeg")
LUNGS: Mapping[Side, str] = {"right": "Right lung", "left": "Left lung"}
ZONES: Mapping[str, Side] = {
    f"{side} {height} lung zone": side for side in LUNGS for height in ("upper", "mid", "lower")
}
DICOM = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{8}){4}")
PLACE = re.compile(r"(?:.*/)?p(\d{8})/s(\d{8})/[^/]+")
WHOLE = 99  # parts of a path: all that it has
NOT_LUNG = re.compile(r"rest|remain|non[-_ ]?lung|without|outside|background", re.I)
FRACTIONS = {"train": 0.7, "val": 0.15, "test": 0.15}
SPLIT = "70/15/15 by subject."


def read(root: Path) -> Manifest:
    """Read the lung pictures, ``files/p10/p10000032/s50414267/DICOM.jpg`` and Chest ImaGenome's ``scene_graph.zip``.

    PhysioNet describes a pair of pictures per image, the lungs and the rest; the layout of the download is not
    published and could not be verified. So a lung picture is any image in a folder beside ``files`` whose path has a
    DICOM id; of a pair, the one whose path does not say rest, remain, non-lung, without, outside or background, or
    whose name says lung. Its pixels that are not black are lung (in a JPEG: brighter than 12 of 255), holes filled; a
    mask in black and white is read the same. Two lungs are two pieces, the patient's right one on the left of the
    image; one piece is cut in the middle between the lungs' boxes, or of the lungs. ``files`` (a link to
    MIMIC-CXR-JPG's will do) has the images; masks are stretched over them, for pictures may be of another size.

    A zone is Chest ImaGenome's box (``silver_dataset/scene_graph.zip``, or its ``DICOM_SceneGraph.json`` unpacked, in
    pixels of the original image) within the lung of its side: upper, mid and lower of either, as RadJEPA has them,
    whose paper counts 1,138 images. Where a box is not there, the zone is unknown. Zones lie in lungs: eight labels
    that overlap. 70/15/15 by subject.
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    if not root.is_dir():
        raise layout.error("there is no such folder")
    pictures = _pictures(layout)
    ids = sorted(pictures)
    files = layout.files(("files",), EXTENSIONS)
    layout.require(ids, files, "the lung pictures")
    places = [PLACE.fullmatch(files[name].path) for name in ids]
    if lost := [name for name, place in zip(ids, places, strict=True) if place is None]:
        raise layout.error(f"{len(lost):,} image(s) do not lie in files/p10/p10000032/s50414267/: {some(lost)}")
    patients, studies = ([str(place[k]) for place in places if place] for k in (1, 2))
    boxes = region_boxes(layout, ids)
    masks, notes = _masks(layout, pictures, boxes, {name: files[name] for name in ids})
    return Manifest(
        name="mimic-lungs",
        root=root,
        images=image_table(
            ids, files, patients=patients, studies=studies, splits=by_patient(patients, FRACTIONS),
            views=[""] * len(ids), labels=(), targets=np.zeros((len(ids), 0), np.float32),
        ),
        labels=(),
        masks=masks,
        lineage=LINEAGE,
        source=SOURCE,
        licence=LICENCE,
        split_notes={SPLIT: SPLITS},
        notes=(SPLIT, *notes, *subset_note(len(ids), OFFICIAL, "images with lungs")),
    )  # fmt: skip


def _pictures(layout: Layout) -> dict[str, File]:
    """The lung picture of each DICOM id."""
    found: dict[str, list[File]] = {}
    for file in layout.files(folders_beside(layout, "files"), EXTENSIONS, parts=WHOLE).values():
        if ids := DICOM.findall(file.path):
            found.setdefault(ids[-1], []).append(file)
    if not found:
        raise layout.error("lung pictures, images in a folder beside files/ with a DICOM id in their path, are missing")
    return {name: _lungs(layout, name, files) for name, files in found.items()}


def _lungs(layout: Layout, name: str, files: list[File]) -> File:
    """Of an image's pictures the one of the lungs."""
    left = [file for file in files if not NOT_LUNG.search(file.path.replace(name, ""))] if len(files) > 1 else files
    if len(left) > 1:
        left = [file for file in left if "lung" in file.path.rpartition("/")[2].lower()]
    if len(left) != 1:
        raise layout.error(
            f"which picture of {name} is of the lungs is not clear ({some([file.path for file in files])}): keep one, "
            "or call the other one rest"
        )
    return left[0]


def _masks(
    layout: Layout, pictures: Mapping[str, File], boxes: Mapping[str, Mapping[str, Box]], images: Mapping[str, File]
) -> tuple[pd.DataFrame, list[str]]:
    """A row per image and label whose mask is known, at the size of the lung picture; and notes."""
    sizes = layout.sizes(images)
    lacking: set[str] = set()

    def rows() -> Iterator[tuple[str, str, int, int, str]]:
        for name, file in sorted(pictures.items()):
            try:
                whole = lung_mask(layout.root / file.path)
            except UserError as error:
                raise layout.error(str(error)) from error
            height, width = whole.shape
            lungs = two_lungs(whole, boxes.get(name, {}), sizes[name])
            for side, label in LUNGS.items():
                yield name, label, height, width, encode_counts(lungs[side])
            for zone, side in ZONES.items():
                if box := boxes.get(name, {}).get(zone):
                    inside = box_mask(box, sizes[name], (height, width))
                    yield name, zone.capitalize(), height, width, encode_counts(lungs[side] & inside)
                else:
                    lacking.add(name)

    table = pd.DataFrame(list(rows()), columns=["image_id", "label", "height", "width", "counts"])
    order = {label: place for place, label in enumerate((*LUNGS.values(), *(zone.capitalize() for zone in ZONES)))}
    table = table.sort_values("label", key=lambda column: column.map(order), kind="stable", ignore_index=True)
    if not boxes:
        return table.assign(stretched=True), ["scene_graph.zip is not there: lungs without zones."]
    notes = [f"{len(lacking):,} image(s) lack a box of a zone, which is unknown: {some(sorted(lacking))}."]
    return table.assign(stretched=True), notes if lacking else []


DATASET = Dataset("mimic-lungs", TITLE, SOURCE, LICENCE, read, lineage=LINEAGE, patients="mimic")
