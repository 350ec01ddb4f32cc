"""CANDID-PTX: 19,237 radiographs with masks of pneumothorax, rib fracture, chest tube. Feng et al., Radiol AI 2021."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cxrbench.data.annotations.rle import empty_counts, union_counts
from cxrbench.data.datasets.layout import Layout, image_table, subset_note
from cxrbench.data.manifest import SPLITS, Dataset, Manifest
from cxrbench.data.splits import by_patient
from cxrbench.data.tables import Table
from cxrbench.errors import UserError
from cxrbench.files.names import some

TITLE = "CANDID-PTX"
SOURCE = "https://doi.org/10.17608/k6.auckland.14173982"
LICENCE = "CANDID-PTX data use agreement, after an ethics course: no redistribution"
LINEAGE = ("candid-ptx",)
OFFICIAL = 19_237
LABELS = ("Pneumothorax", "Rib fracture", "Chest tube")
TABLES = {"Rib fracture": ("acute_rib_fracture.csv", "Rib_fracture_mask_rle.csv"), "Chest tube": ("chest_tube.csv",)}
REPORTS = "Pneumothorax_reports.csv"
FOLDERS = ("dataset", "chest_radiographs", "images")
EXTENSIONS = (".dcm", ".dicom", ".png", ".jpg", ".jpeg", "")
NOTHING = "-1"
FRACTIONS = {"train": 0.7, "val": 0.1, "test": 0.2}

Masks = dict[str, list[str]]
"""The run lengths of each image that is named, one per row of a table."""


class Said(NamedTuple):
    """The table of reports: masks of each image, and all patients that it is given."""

    masks: Masks
    patients: dict[str, set[str]]


SPLIT = "No official split: 70/10/20 by patient."


def read(root: Path) -> Manifest:
    """Read ``Pneumothorax_reports.csv``, ``acute_rib_fracture.csv``, ``chest_tube.csv`` and the images in ``dataset/``.

    Images are DICOM, named by their SOPInstanceUID, without an extension (one that is there does no harm). The first
    table has a row per pneumothorax mask, or one of ``-1``, with the columns ``SOPInstanceUID``, ``filename`` (it
    begins with the patient's number, ``P00001_...``) and ``EncodedPixels``; the others (``anon_SOPUID``,
    ``mask_rle``) name only images that show something. Run lengths are relative, as SIIM-ACR's, and several rows of
    an image are united. Masks of the three labels may overlap. The reports in the first table are not read.

    Left out, with a note: images that two patients have, and those with neither a mask nor ``-1``, or with both. A rib
    fracture or a chest tube whose only mask is ``-1`` is there, but nobody knows where: its mask and label are unknown.
    70/10/20 by patient, for there is no official split. The data was not at hand: columns and file names are those of
    public loaders, which know the table of fractures by two names.
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    path = layout.first(REPORTS)
    said = _reports(layout.table(path, ["SOPInstanceUID", "filename", "EncodedPixels"]))
    others = {label: _findings(layout, names) for label, names in TABLES.items()}
    several = sorted(name for name, patients in said.patients.items() if len(patients) > 1)
    unclear = sorted(name for name, texts in said.masks.items() if not _is_clear(texts))
    ids = sorted(set(said.masks) - {*several, *unclear})
    files = layout.files(FOLDERS, EXTENSIONS)
    layout.require(ids, files, path.name)
    sizes = layout.sizes({name: files[name] for name in ids})
    of_label = {LABELS[0]: {n: t for n, t in said.masks.items() if NOTHING not in t}, **others}
    targets = np.array([[_target(of_label[label].get(name)) for label in LABELS] for name in ids], np.float32)
    patients = [min(said.patients[name]) for name in ids]
    unnamed = sorted(set().union(*others.values()) - set(said.masks))
    return Manifest(
        name="candid-ptx",
        root=root,
        images=image_table(
            ids, files, patients=patients, splits=by_patient(patients, FRACTIONS), labels=LABELS,
            views=[""] * len(ids), targets=targets.reshape(-1, len(LABELS)),
        ),
        labels=LABELS,
        masks=_masks(layout, sizes, of_label),
        lineage=LINEAGE,
        source=SOURCE,
        licence=LICENCE,
        split_notes={SPLIT: SPLITS},
        notes=(
            SPLIT,
            *_left_out(several, "that two patients have"),
            *_left_out(unclear, f"with neither a mask nor {NOTHING}, or with both"),
            *((f"{len(unnamed):,} image(s) of other tables are not in {REPORTS}.",) if unnamed else ()),
            *subset_note(len(said.masks), OFFICIAL, f"images in {REPORTS}"),
        ),
    )  # fmt: skip


def _reports(table: Table) -> Said:
    """Masks and patients by image."""
    masks: Masks = {}
    patients: dict[str, set[str]] = {}
    for name, file, text in zip(table["SOPInstanceUID"], table["filename"], table["EncodedPixels"], strict=True):
        masks.setdefault(name, []).append(text)
        patients.setdefault(name, set()).add(Path(file).name.partition("_")[0])
    return Said(masks, patients)


def _findings(layout: Layout, names: tuple[str, ...]) -> Masks:
    """The masks of a table that names only images which show something."""
    table = layout.table(layout.first(*names), ["anon_SOPUID", "mask_rle"])
    masks: Masks = {}
    for name, text in zip(table["anon_SOPUID"], table["mask_rle"], strict=True):
        masks.setdefault(name, []).append(text)
    return masks


def _is_clear(texts: list[str]) -> bool:
    """Whether an image's rows are all masks, or all say that there is none."""
    return "" not in texts and len({text == NOTHING for text in texts}) == 1


def _drawn(texts: list[str]) -> list[str]:
    return [text for text in texts if text and text != NOTHING]


def _target(texts: list[str] | None) -> float:
    """1 where a mask is drawn, 0 where an image is not named, NaN where it is named without a mask."""
    return 0.0 if texts is None else 1.0 if _drawn(texts) else np.nan


def _masks(layout: Layout, sizes: dict[str, tuple[int, int]], of_label: dict[str, Masks]) -> pd.DataFrame:
    """A row for each image and label whose mask is known, empty ones included."""

    def rows() -> Iterator[tuple[str, str, int, int, str]]:
        for label in LABELS:
            for name, (height, width) in sizes.items():
                texts = of_label[label].get(name)
                if texts is None:
                    yield name, label, height, width, empty_counts(height, width)
                elif drawn := _drawn(texts):
                    try:
                        yield name, label, height, width, union_counts(drawn, height, width)
                    except UserError as error:
                        raise layout.error(f"{label} of image {name}: {error}") from error

    return pd.DataFrame(list(rows()), columns=["image_id", "label", "height", "width", "counts"])


def _left_out(names: list[str], why: str) -> tuple[str, ...]:
    return (f"{len(names):,} image(s) {why} were left out: {some(names)}.",) if names else ()


DATASET = Dataset("candid-ptx", TITLE, SOURCE, LICENCE, read, lineage=LINEAGE)
