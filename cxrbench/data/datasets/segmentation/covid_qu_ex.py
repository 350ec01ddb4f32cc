"""COVID-QU-Ex: 33,920 radiographs with lung masks, 5,826 with masks of the infection. Tahir et al., 2021."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cxrbench.data.datasets.layout import File, Layout, image_table, subset_note
from cxrbench.data.datasets.segmentation.bimcv import patient_of
from cxrbench.data.datasets.segmentation.pairs import base_folder, mask_table, pair
from cxrbench.data.manifest import SPLITS, Dataset, Manifest
from cxrbench.data.splits import without_shared
from cxrbench.errors import UserError
from cxrbench.files.names import some

TITLE = "COVID-QU-Ex"
SOURCE = "https://www.kaggle.com/datasets/anasmohammedtahir/covidqu"
LICENCE = "see the Kaggle page, which asks for citations; the terms of the images' sources hold as well"
LINEAGE = ("covid-qu-ex", "qata", "bimcv-covid19", "rsna", "nih", "padchest")
OFFICIAL = {"lung": 33_920, "infection": 5_826}
CLASSES = ("COVID-19", "Non-COVID", "Normal")
PARTS = {"Train": "train", "Val": "val", "Test": "test"}
LUNG, INFECTION = "Lung", "Infection"
LUNG_DATA, INFECTION_DATA = "Lung Segmentation Data", "Infection Segmentation Data"


@dataclass
class Tree:
    """One of the two parts of the download: its images in their order, and what belongs to each."""

    files: dict[str, File] = field(default_factory=dict)
    split: dict[str, str] = field(default_factory=dict)
    label: dict[str, str] = field(default_factory=dict)
    name: dict[str, str] = field(default_factory=dict)
    masks: dict[str, dict[str, File]] = field(default_factory=dict)
    spare: list[str] = field(default_factory=list)


SPLIT = "Official splits."


def read(root: Path) -> Manifest:
    """Read ``Lung Segmentation Data/{Train,Val,Test}/{COVID-19,Non-COVID,Normal}/{images,lung masks}/*.png``.

    Kaggle's archive has that folder twice, one inside the other; both ways are read, below ``root`` or below a folder
    ``COVID-QU-Ex``. ``Infection Segmentation Data`` beside it, with ``infection masks``, has masks of the infection
    for images of the first: those of the same class, name and size of file get them, and stay in the split that the
    lung data has them in; of all other images the infection is unknown. Without ``Lung Segmentation Data`` the
    infection data is read alone, both masks, in its own official split: so it can be used as published from a folder
    that has nothing else.

    Official splits. Names of images from BIMCV-COVID19+ (``sub-S...``) tell the patient, any other image counts as
    one. Images whose patient is in a later split (test before val before train) are left out, with a note. The three
    classes are labels, one of which each image has. Lineage: QaTa-COV19, from which the infection masks come,
    BIMCV-COVID19+, whose names some images have, and RSNA, NIH and PadChest, from which the same group's COVID-19
    Radiography Database says that it has images; the sources of COVID-QU-Ex could not be verified, and which image is
    of which is not published. The data was not at hand: folders, names and counts are those of public loaders.
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    lungs, infection = (_tree(layout, name) for name in (LUNG_DATA, INFECTION_DATA))
    tree = lungs or infection
    if tree is None:
        raise layout.error(f"folder {LUNG_DATA}/Train or {INFECTION_DATA}/Train is missing")
    notes = [] if lungs is None or infection is None else _with_infections(lungs, infection)
    if lungs is None:
        notes.append(f"{LUNG_DATA} is not there: the infection data alone, in its own split.")
    ids = list(tree.files)
    patients = [patient_of(tree.name[image], image) for image in ids]
    kept = without_shared(patients, [tree.split[image] for image in ids])
    if lost := int((~kept).sum()):
        notes.append(f"{lost:,} image(s), whose patients are in a later split, were left out.")
    ids, patients = ([value for value, k in zip(c, kept, strict=True) if k] for c in (ids, patients))
    targets = np.array([[tree.label[image] == name for name in CLASSES] for image in ids], np.float32)
    images = image_table(
        ids, tree.files, patients=patients, splits=[tree.split[image] for image in ids], labels=CLASSES,
        views=[""] * len(ids), targets=targets.reshape(-1, len(CLASSES)),
    )  # fmt: skip
    rows = [(image, label, tree.masks[image][label]) for label in (LUNG, INFECTION) for image in ids
            if label in tree.masks[image]]  # fmt: skip
    if tree.spare:
        notes.append(f"{len(tree.spare):,} mask(s) are of no image: {some(tree.spare)}.")
    return Manifest(
        name="covid-qu-ex",
        root=root,
        images=images,
        labels=CLASSES,
        kind="multiclass",
        masks=mask_table(layout, rows, {image: tree.files[image] for image in ids}),
        lineage=LINEAGE,
        source=SOURCE,
        licence=LICENCE,
        split_notes={SPLIT: SPLITS},
        notes=(
            SPLIT,
            "Patients are BIMCV's, where an image's name tells them; any other image counts as one.",
            *notes,
            *subset_note(len(tree.files), OFFICIAL["infection" if lungs is None else "lung"], "images"),
        ),
    )


def _tree(layout: Layout, name: str) -> Tree | None:
    """One part of the download; None where it is not there."""
    try:
        base = base_folder(layout, "Train", [f"{above}{name}{twice}" for above in ("", "COVID-QU-Ex/")
                                             for twice in (f"/{name}", "")])  # fmt: skip
    except UserError:
        if not layout.root.is_dir():
            raise
        return None
    tree = Tree()
    kinds = {LUNG: "lung masks"} | ({INFECTION: "infection masks"} if name == INFECTION_DATA else {})
    for part, split in PARTS.items():
        for label in CLASSES:
            folder = f"{base}{part}/{label}"
            found = {kind: pair(layout, f"{folder}/images", f"{folder}/{masks}") for kind, masks in kinds.items()}
            for stem, file in found[LUNG].images.items():
                image = f"{split}_{label}_{stem}"
                tree.files[image], tree.split[image], tree.label[image] = file, split, label
                tree.name[image] = stem
                tree.masks[image] = {kind: pairs.masks[stem] for kind, pairs in found.items()}
            tree.spare += [name for pairs in found.values() for name in pairs.spare]
    return tree


def _with_infections(lungs: Tree, infection: Tree) -> list[str]:
    """Put the infection masks beside the lung masks of the same images; notes on what is not the same."""
    places: dict[tuple[str, str, int], list[str]] = {}
    for image, file in lungs.files.items():
        places.setdefault((lungs.label[image], lungs.name[image], file.bytes), []).append(image)
    moved, alone = [], []
    for image, file in infection.files.items():
        same = places.get((infection.label[image], infection.name[image], file.bytes), [])
        here = [one for one in same if lungs.split[one] == infection.split[image]]
        if not here and len(same) != 1:
            alone.append(image)
            continue
        if not here:
            moved.append(image)
        lungs.masks[(here or same)[0]][INFECTION] = infection.masks[image][INFECTION]
    lungs.spare += infection.spare
    return [
        *((f"{len(moved):,} image(s) of {INFECTION_DATA} are in another split of {LUNG_DATA}, where they stay: "
           f"{some(moved)}.",) if moved else ()),
        *((f"{len(alone):,} image(s) of {INFECTION_DATA} are none of {LUNG_DATA}, and were left out: "
           f"{some(alone)}.",) if alone else ()),
        *subset_note(len(infection.files), OFFICIAL["infection"], f"images in {INFECTION_DATA}"),
    ]  # fmt: skip


DATASET = Dataset("covid-qu-ex", TITLE, SOURCE, LICENCE, read, lineage=LINEAGE)
