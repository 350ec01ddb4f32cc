"""CheXlocalize: 902 radiographs of CheXpert with masks of ten findings. Saporta et al., Nature Mach. Intell. 2022."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxrbench.data.annotations.polygons import polygon_counts, read_points
from cxrbench.data.annotations.rle import empty_counts, unpack_counts
from cxrbench.data.datasets import chexpert
from cxrbench.data.datasets.layout import Layout, image_table, subset_note
from cxrbench.data.manifest import Dataset, Manifest
from cxrbench.data.splits import by_patient, shared_patients
from cxrbench.data.tables import read_json
from cxrbench.errors import UserError
from cxrbench.files.names import plain, some

TITLE = "CheXlocalize"
SOURCE = "https://stanfordaimi.azurewebsites.net/datasets/23c56a0d-15de-405b-87c8-99c30138950c"
LICENCE = "Stanford University Dataset Research Use Agreement (CheXlocalize): non-commercial, no redistribution"
LINEAGE = ("chexlocalize", "chexpert")
OFFICIAL = {"val": 234, "test": 668}
TABLES = {"val": ("val_labels.csv", "valid.csv"), "test": ("test_labels.csv",)}
OUTLINED = {
    "Enlarged Cardiomediastinum": "Enlarged Cardiomediastinum", "Cardiomegaly": "Cardiomegaly",
    "Airspace Opacity": "Lung Opacity", "Lung Lesion": "Lung Lesion", "Edema": "Edema",
    "Consolidation": "Consolidation", "Atelectasis": "Atelectasis", "Pneumothorax": "Pneumothorax",
    "Pleural Effusion": "Pleural Effusion", "Support Devices": "Support Devices",
}  # fmt: skip
"""CheXlocalize's names of the ten findings, and CheXpert's."""
FROM_VAL = {"train": 0.8, "val": 0.2}
WITHOUT_TEST = {"train": 0.6, "val": 0.2, "test": 0.2}
DEPTH = 3
Size = tuple[int, int]


def read(root: Path) -> Manifest:
    """Read ``CheXpert/{val,test}_labels.csv``, ``CheXlocalize/gt_segmentations_{val,test}.json`` and the JPEGs.

    Older downloads have ``CheXpert-v1.0/valid.csv`` and no test set; each file is looked for by its name down to three
    folders below ``root``, and images by the last three parts of their ``Path``. The JSON has, by image
    (``patient64541_study1_view1_frontal``) and finding, COCO's compressed run lengths at the size of CheXpert's
    original images (those of CheXpert-v1.0-small are refused). Where ``gt_segmentations`` is not there, the outlines
    of ``gt_annotations_*.json`` are filled. What CheXlocalize calls Airspace Opacity is CheXpert's Lung Opacity.

    The JSON has only images with a finding. Masks agree with the labels: a finding that the labels deny and nobody
    has outlined is an empty mask; one that they affirm and nobody has outlined is unknown, and counted in a note.
    Masks of different findings overlap. There is no training set: 80% of the validation patients (200) train, the
    others are validation, and the test set is the official one; without it, 60/20/20 of the validation patients. The
    benchmark radiologists' masks and points are not read. Labels: as the reader of CheXpert takes them, ``macro`` the
    ten. Form of the JSON, of paths and sizes: the sample in the official repository.
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    found = {part: path for part, names in TABLES.items() if (path := _find(layout, names))}
    if "val" not in found:
        raise layout.error(f"file {' or '.join(TABLES['val'])} is missing")
    names: list[chexpert.Name] = []
    targets, views, parts = [], [], []
    for part, path in found.items():
        table = layout.table(path, ["Path", *chexpert.LABELS])
        here = [chexpert.name_of(layout, cell, path.name) for cell in table["Path"]]
        targets.append(chexpert.targets_of(layout, {label: table[label] for label in chexpert.LABELS}, path.name))
        projections = table.get("AP/PA", [""] * len(here))
        views += [chexpert.view_of(name.side, cell) for name, cell in zip(here, projections, strict=True)]
        parts += [part] * len(here)
        names += here
    ids = [name.image for name in names]
    layout.unique(ids, " and ".join(path.name for path in found.values()))
    files = layout.files([""], chexpert.EXTENSIONS, parts=3)
    layout.require((name.key for name in names), files, " and ".join(path.name for path in found.values()))
    of_image = {name.image: files[name.key] for name in names}
    drawn = {image: masks for part in found for image, masks in _outlines(layout, part).items()}
    if strange := sorted(set(drawn) - set(ids)):
        raise layout.error(f"{len(strange):,} image(s) with masks are in no table: {some(strange)}")
    images = image_table(
        ids, of_image, patients=[name.patient for name in names], studies=[name.study for name in names],
        splits=_splits(layout, [name.patient for name in names], parts), views=views, labels=chexpert.LABELS,
        targets=np.concatenate(targets),
    )  # fmt: skip
    masks, notes = _masks(layout, images, drawn, layout.sizes(of_image))
    return Manifest(
        name="chexlocalize",
        root=root,
        images=images,
        labels=chexpert.LABELS,
        groups={"macro": tuple(OUTLINED.values()), "all": chexpert.LABELS},
        masks=masks,
        lineage=LINEAGE,
        source=SOURCE,
        licence=LICENCE,
        notes=(
            "No training set is published: 80% of the official validation patients train, the others are validation; "
            "official test set."
            if "test" in found
            else f"{TABLES['test'][0]} is not there: 60/20/20 of the official validation set, by patient.",
            *notes,
            *(note for part in found for note in subset_note(parts.count(part), OFFICIAL[part], f"{part} images")),
        ),
    )


def _find(layout: Layout, names: Sequence[str]) -> Path | None:
    """The first file of these names in the root or in a folder below it."""
    if not layout.root.is_dir():
        raise layout.error("there is no such folder")
    for name in names:
        for depth in range(DEPTH + 1):
            if found := sorted(layout.root.glob("*/" * depth + name)):
                return found[0]
    return None


def _splits(layout: Layout, patients: Sequence[str], parts: Sequence[str]) -> list[str]:
    """Split of each image; the official test set is kept."""
    if shared := shared_patients(patients, parts):
        raise layout.error(f"the official parts share {len(shared):,} patient(s): {some(shared)}")
    ours = [patient for patient, part in zip(patients, parts, strict=True) if part == "val"]
    dealt = iter(by_patient(ours, FROM_VAL if "test" in parts else WITHOUT_TEST))
    return [str(next(dealt)) if part == "val" else "test" for part in parts]


def _outlines(layout: Layout, part: str) -> dict[str, dict[str, Any]]:
    """What is drawn on the images of a part, by image and CheXlocalize's name of the finding."""
    names = f"gt_segmentations_{part}.json", f"gt_annotations_{part}.json"
    path = _find(layout, names)
    if path is None:
        raise layout.error(f"file {' or '.join(names)} is missing")
    try:
        table = read_json(path)
    except UserError as error:
        raise layout.error(str(error)) from error
    if not isinstance(table, dict) or not all(isinstance(masks, dict) for masks in table.values()):
        raise layout.error(f"{path.name} is no object of images, each with masks by finding")
    if unknown := sorted({name for masks in table.values() for name in masks} - {*OUTLINED, "img_size"}):
        raise layout.error(f"{path.name} has the unknown finding {plain(unknown[0])!r}")
    return table


def _masks(
    layout: Layout, images: pd.DataFrame, drawn: Mapping[str, Mapping[str, Any]], sizes: Mapping[str, Size]
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """A row per image and finding whose mask is known, empty ones included; and what does not agree with the labels."""
    affirmed: list[str] = []
    denied: list[str] = []

    def rows() -> Iterator[tuple[str, str, int, int, str]]:
        for name, label in OUTLINED.items():
            for image, target in zip(images["image_id"], images[label], strict=True):
                height, width = sizes[image]
                outlines = drawn.get(image, {})
                counts = _counts(layout, f"{name} of image {image}", outlines, name, sizes[image])
                empty = counts == empty_counts(height, width)
                if empty and target == 1:
                    affirmed.append(f"{label} of {image}")
                    continue
                if not empty and target == 0:
                    denied.append(f"{label} of {image}")
                yield image, label, height, width, counts

    table = pd.DataFrame(list(rows()), columns=["image_id", "label", "height", "width", "counts"])
    notes = [
        (affirmed, "finding(s) that the labels affirm are not outlined: unknown masks"),
        (denied, "finding(s) that the labels deny are outlined: the masks are kept"),
    ]
    return table, tuple(f"{len(names):,} {what} ({some(names)})." for names, what in notes if names)


def _counts(layout: Layout, where: str, outlines: Mapping[str, Any], name: str, size: Size) -> str:
    """Counts of a finding's mask from run lengths or from contours; empty where nothing is drawn."""
    mask = outlines.get(name)
    said = mask.get("size") if isinstance(mask, dict) else outlines.get("img_size", list(size))
    if mask is not None and said != list(size):
        raise layout.error(
            f"{where} is drawn on {plain(str(said))} pixels (height, width), its image has {list(size)}: masks are of "
            "CheXpert's original images, not of CheXpert-v1.0-small"
        )
    try:
        if mask is None:
            return empty_counts(*size)
        if isinstance(mask, dict):
            return unpack_counts(str(mask.get("counts", "")), *size)
        return polygon_counts([read_points(points, where) for points in mask], *size)
    except (UserError, TypeError) as error:
        raise layout.error(f"{where}: {error}") from error


DATASET = Dataset("chexlocalize", TITLE, SOURCE, LICENCE, read, lineage=LINEAGE, patients="chexpert")
