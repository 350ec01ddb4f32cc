"""CXLSeg: lung masks of 243,324 frontal radiographs of MIMIC-CXR, made by a network. Indeewara et al., 2023."""

from pathlib import Path

import numpy as np

from cxrbench.data.datasets.layout import File, Layout, image_table, subset_note
from cxrbench.data.datasets.segmentation.pairs import stretched_table
from cxrbench.data.manifest import Dataset, Manifest
from cxrbench.data.splits import without_shared
from cxrbench.files.names import plain

TITLE = "CXLSeg"
SOURCE = "https://physionet.org/content/chest-x-ray-segmentation/1.0.0/"
LICENCE = "PhysioNet Credentialed Health Data License 1.5.0: training and a signed agreement; no redistribution"
LINEAGE = ("cxlseg", "mimic")
OFFICIAL = 243_324
LABEL = "Lung"
TABLE = "CXLSeg-split.csv"
COLUMNS = ("dicom_id", "subject_id", "study_id", "split")
SPLITS = {"train": "train", "validate": "val", "test": "test"}
ORIGINALS = "mimic-cxr-jpg"
SUFFIX = "-mask"
READ_OFF = (
    "The images are the published segmented pictures: whatever is not lung in them is black, so that the mask can be "
    f"read off (PaCX's 0.99 IoU is of these). Put MIMIC-CXR-JPG's files into {ORIGINALS}/ to segment the originals."
)


def read(root: Path) -> Manifest:
    """Read ``CXLSeg-split.csv`` and ``files/p10/p10000032/s50414267/DICOM.jpg`` with ``DICOM-mask.jpg``, 224 x 224.

    ``DICOM.jpg`` is not MIMIC's image: it is the lungs cut out of it, on black (in the sample of the official
    repository the pixels that are not black are the mask, but for one in 50,000). Who segments it reads the answer
    off. Where ``mimic-cxr-jpg/files`` (a link to MIMIC-CXR-JPG's will do) has the originals, those are the images,
    as in the dataset's own code, and each mask is stretched over its image, whatever the aspect, as that code does;
    a note says which of the two was read.

    Official splits (their sizes, 194,660/24,332/24,332, are those of a split by image). Images whose patient is in a
    later one (test before validate before train) are left out, with a note. Masks are JPEGs: from 128 on is lung. The
    data itself was not at hand: columns and names are those of the official repository and of PaCX's code.
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    path = layout.first(TABLE)
    table = layout.table(path, COLUMNS)
    if unknown := sorted(set(table["split"]) - set(SPLITS)):
        raise layout.error(f"{TABLE} has the unknown split {plain(unknown[0])!r}; known are {', '.join(SPLITS)}")
    layout.unique(table["dicom_id"], TABLE)
    splits = [SPLITS[name] for name in table["split"]]
    kept = without_shared(table["subject_id"], splits)
    rows = np.flatnonzero(kept).tolist()
    ids = [table["dicom_id"][row] for row in rows]
    found = layout.files(("files",), (".jpg", ".jpeg", ".png"))
    masks = {name: found[name + SUFFIX] for name in ids if name + SUFFIX in found}
    layout.require(ids, masks, f"{TABLE}: masks DICOM{SUFFIX}.jpg")
    files, note = _images(layout, ids, found)
    images = image_table(
        ids, files, patients=[table["subject_id"][row] for row in rows],
        studies=[table["study_id"][row] for row in rows], splits=[splits[row] for row in rows],
        views=[""] * len(ids), labels=(), targets=np.zeros((len(ids), 0), np.float32),
    )  # fmt: skip
    return Manifest(
        name="cxlseg",
        root=root,
        images=images,
        labels=(),
        masks=stretched_table((name, LABEL, masks[name]) for name in ids),
        lineage=LINEAGE,
        source=SOURCE,
        licence=LICENCE,
        notes=(
            note,
            *_left_out(splits, kept.tolist()),
            *subset_note(len(splits), OFFICIAL, f"images in {TABLE}"),
        ),
    )


def _images(layout: Layout, ids: list[str], found: dict[str, File]) -> tuple[dict[str, File], str]:
    """The image of each mask: MIMIC's own where it is there, else the segmented picture; and a note that says which."""
    originals = layout.files((f"{ORIGINALS}/files",), (".jpg", ".jpeg", ".png"))
    if originals:
        layout.require(ids, originals, f"{TABLE}: originals in {ORIGINALS}/files")
        return originals, f"The images are MIMIC-CXR-JPG's, from {ORIGINALS}/; masks are stretched over them."
    layout.require(ids, found, TABLE)
    return found, READ_OFF


def _left_out(splits: list[str], kept: list[bool]) -> list[str]:
    """A note for each split that lost images."""
    notes = []
    for split in ("train", "val"):
        if lost := sum(s == split and not k for s, k in zip(splits, kept, strict=True)):
            there = splits.count(split)
            notes.append(f"{lost:,} of {there:,} {split} images, whose patients are in a later split, were left out.")
    return notes


DATASET = Dataset("cxlseg", TITLE, SOURCE, LICENCE, read, lineage=LINEAGE, patients="mimic")
