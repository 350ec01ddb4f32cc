"""SIIM-ACR Pneumothorax Segmentation, stage 1: 12,047 annotated radiographs of NIH ChestX-ray14, with masks."""

from pathlib import Path

import numpy as np
import pandas as pd

from cxrbench.data.annotations.rle import union_counts
from cxrbench.data.datasets.dicom_headers import Header, headers
from cxrbench.data.datasets.layout import Layout, image_table, subset_note
from cxrbench.data.manifest import Dataset, Manifest
from cxrbench.data.splits import by_patient
from cxrbench.errors import UserError
from cxrbench.files.names import some

TITLE = "SIIM-ACR Pneumothorax Segmentation (stage 1)"
SOURCE = "https://www.kaggle.com/c/siim-acr-pneumothorax-segmentation/data"
LICENCE = "SIIM-ACR challenge terms of use (non-commercial, academic research and education)"
LINEAGE = ("siim", "nih")
OFFICIAL = 12_047
FRACTIONS = {"train": 0.7, "val": 0.15, "test": 0.15}
LABEL = "Pneumothorax"
EMPTY = ("", "-1")


def read(root: Path) -> Manifest:
    """Read ``dicom-images-train/**/*.dcm`` and ``train-rle.csv`` (or ``stage_1_train.csv``, ``stage_2_train.csv``).

    The table has one row per mask, so several for some images, and ``-1`` where there is no pneumothorax; its column is
    published as ``" EncodedPixels"`` with a leading blank. Rows are grouped by image, so that no image is in two splits
    (the challenge's own split was by row), and its masks united. Files without a row, as in the published set, are left
    out with a note. 70/15/15 by the PatientID in the headers.
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    path = layout.first("train-rle.csv", "stage_1_train.csv", "stage_2_train.csv")
    table = layout.table(path, ["ImageId", "EncodedPixels"])
    masks: dict[str, list[str]] = {}
    for name, text in zip(table["ImageId"], table["EncodedPixels"], strict=True):
        masks.setdefault(name, []).append(text)
    ids = sorted(masks)
    files = layout.files(["dicom-images-train"], (".dcm",))
    layout.require(ids, files, path.name)
    found = headers(root, [files[name] for name in ids])
    positive = [any(text not in EMPTY for text in masks[name]) for name in ids]
    if torn := [name for name, yes in zip(ids, positive, strict=True) if yes and set(EMPTY) & set(masks[name])]:
        raise layout.error(f"{path.name} gives {len(torn):,} image(s) both a mask and -1: {some(torn)}")
    patients = [header.patient or name for name, header in zip(ids, found, strict=True)]
    images = image_table(
        ids, files, patients=patients, splits=by_patient(patients, FRACTIONS), labels=(LABEL,),
        views=[header.view for header in found], targets=np.array(positive, np.float32)[:, None],
    )  # fmt: skip
    unread = len(files) - len(ids)
    return Manifest(
        name="siim",
        root=root,
        images=images,
        labels=(LABEL,),
        masks_complete=True,
        masks=_masks(
            layout,
            {name: masks[name] for name, yes in zip(ids, positive, strict=True) if yes},
            dict(zip(ids, found, strict=True)),
        ),
        lineage=LINEAGE,
        source=SOURCE,
        licence=LICENCE,
        notes=(
            f"{len(set(patients)):,} PatientIDs in {len(ids):,} headers; NIH's patients behind them are not published.",
            *subset_note(len(ids), OFFICIAL, "annotated images"),
            *((f"{unread:,} files without a row in {path.name} were left out.",) if unread else ()),
        ),
    )


def _masks(layout: Layout, masks: dict[str, list[str]], headers: dict[str, Header]) -> pd.DataFrame:
    """One row per positive image: the union of its masks as COCO counts, at the size of the stored image."""
    rows = []
    for name, texts in masks.items():
        height, width = headers[name].height, headers[name].width
        try:
            rows.append((name, LABEL, height, width, union_counts(texts, height, width)))
        except UserError as error:
            raise layout.error(f"image {name}: {error}") from error
    return pd.DataFrame(rows, columns=["image_id", "label", "height", "width", "counts"])


DATASET = Dataset("siim", TITLE, SOURCE, LICENCE, read, lineage=LINEAGE)
