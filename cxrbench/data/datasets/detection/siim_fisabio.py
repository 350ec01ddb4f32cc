"""SIIM-FISABIO-RSNA COVID-19 Detection (2021): 6,334 radiographs, classes of their studies and boxes of opacities."""

import ast
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxrbench.data.annotations.boxes import SIDES, without_repeated
from cxrbench.data.datasets.dicom_headers import headers
from cxrbench.data.datasets.layout import Layout, image_table, subset_note
from cxrbench.data.manifest import Dataset, Manifest
from cxrbench.data.splits import by_patient
from cxrbench.data.tables import is_empty
from cxrbench.files.names import plain, some

TITLE = "SIIM-FISABIO-RSNA COVID-19 Detection"
SOURCE = "https://www.kaggle.com/c/siim-covid19-detection/data"
LICENCE = "SIIM-FISABIO-RSNA challenge terms of use (non-commercial, academic research and education)"
LINEAGE = ("siim-fisabio", "bimcv-covid19", "ricord")
OFFICIAL = 6_334
FRACTIONS = {"train": 0.7, "val": 0.15, "test": 0.15}
LABELS = ("Negative for Pneumonia", "Typical Appearance", "Indeterminate Appearance", "Atypical Appearance")
OPACITY = "Opacity"
STUDY, IMAGE = "_study", "_image"  # how identifiers end


def read(root: Path) -> Manifest:
    """Read ``train_study_level.csv``, ``train_image_level.csv`` and ``train/STUDY/SERIES/IMAGE.dcm``.

    A study has one of four classes, and all its images have it. An image's boxes are a list of ``x, y, width, height``
    as Python writes it, all of one kind, opacity; beside it ``label`` begins with ``opacity``, or is ``none 1 0 0
    1 1``, and must agree. 70/15/15 by the PatientID in the headers: the challenge's test set has no
    published annotations.

    A study may have several images (up to nine), and in many a positive one only one of them has boxes, whether or not
    the opacity shows on the others: how many those are is said in a note. Images come from BIMCV-COVID19+ and
    MIDRC-RICORD-1c. Not verified, for the files were not at hand: whether boxes reach beyond their images (they are cut
    at the edge, with a note).
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    classes = _classes(layout)
    path = layout.first("train_image_level.csv", "train/train_image_level.csv")
    table = layout.table(path, ["id", "boxes", "label", "StudyInstanceUID"])
    ids = [name.removesuffix(IMAGE) for name in table["id"]]
    layout.unique(ids, path.name)
    studies = table["StudyInstanceUID"]
    if absent := sorted(set(studies) - set(classes)):
        raise layout.error(f"train_study_level.csv lacks {len(absent):,} study(ies) of {path.name}: {some(absent)}")
    files = layout.files(["train"], (".dcm", ".dicom"))
    layout.require(ids, files, path.name)
    found = headers(root, [files[name] for name in ids])
    patients = [header.patient or study for header, study in zip(found, studies, strict=True)]
    patients = _one_per_study(patients, studies)
    targets = np.array([classes[study] for study in studies], np.float32)
    sizes = {name: (header.height, header.width) for name, header in zip(ids, found, strict=True)}
    boxes, notes = _boxes(layout, table, ids, sizes, path.name)
    unread = len(files) - len(ids)
    return Manifest(
        name="siim-fisabio",
        root=root,
        images=image_table(
            ids, files, patients=patients, splits=by_patient(patients, FRACTIONS), labels=LABELS, targets=targets,
            views=[header.view for header in found], studies=studies,
        ),
        labels=LABELS,
        kind="multiclass",
        boxes=boxes,
        lineage=LINEAGE,
        source=SOURCE,
        licence=LICENCE,
        notes=(
            *notes,
            *_unboxed(ids, studies, targets, set(boxes["image_id"])),
            *([f"{unread:,} files without a row in {path.name} were left out."] if unread else []),
            *subset_note(len(ids), OFFICIAL, "images"),
        ),
    )  # fmt: skip


def _classes(layout: Layout) -> dict[str, list[float]]:
    """The class of each study, one of LABELS, as ones and zeros."""
    path = layout.first("train_study_level.csv", "train/train_study_level.csv")
    table = layout.table(path, ["id", *LABELS])
    studies = [name.removesuffix(STUDY) for name in table["id"]]
    layout.unique(studies, path.name)
    values = np.stack([layout.numbers(table, name, path.name) for name in LABELS], axis=1)
    if (odd := np.flatnonzero(~(np.isin(values, (0, 1)).all(axis=1) & (values.sum(axis=1) == 1)))).size:
        raise layout.error(
            f"{path.name} has {len(odd):,} study(ies) without one of the four classes, or with several: "
            f"{some([studies[row] for row in odd])}"
        )
    return dict(zip(studies, values.tolist(), strict=True))


def _one_per_study(patients: Sequence[str], studies: Sequence[str]) -> list[str]:
    """The patient of each image: that of its study's first image, should the headers of a study not agree."""
    of: dict[str, str] = {}
    return [of.setdefault(study, patient) for patient, study in zip(patients, studies, strict=True)]


def _boxes(
    layout: Layout, table: Mapping[str, Sequence[str]], ids: Sequence[str], sizes: Mapping[str, tuple[int, int]],
    where: str,
) -> tuple[pd.DataFrame, tuple[str, ...]]:  # fmt: skip
    """One row per box, in pixels of the stored image, and notes on repeated and cut ones."""
    rows = []
    for name, text, label in zip(ids, table["boxes"], table["label"], strict=True):
        of_image = _parsed(layout, text, f"{where}, image {plain(name)}")
        if bool(of_image) != label.startswith("opacity"):
            raise layout.error(
                f"{where}, image {plain(name)}: its label is {plain(label)!r} and it has {len(of_image)} box(es)"
            )
        rows += [(name, OPACITY, *box) for box in of_image]
    boxes, notes = without_repeated(pd.DataFrame(rows, columns=["image_id", "label", *SIDES]), where)
    boxes, cut = layout.cut_boxes(boxes, sizes, where)
    return boxes, (*notes, *cut)


def _parsed(layout: Layout, text: str, where: str) -> list[tuple[float, ...]]:
    """The boxes of one cell: a list of dictionaries, or nothing."""
    if is_empty(text):
        return []
    try:
        values: Any = ast.literal_eval(text)
        return [tuple(float(box[side]) for side in SIDES) for box in values]
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise layout.error(f"{where}: boxes {plain(text)!r} are no list of x, y, width and height") from error


def _unboxed(ids: Sequence[str], studies: Sequence[str], targets: np.ndarray, boxed: set[str]) -> tuple[str, ...]:
    """A note on images that have no box though another of their study has one, and on those of positive studies."""
    with_box = {study for name, study in zip(ids, studies, strict=True) if name in boxed}
    beside = sum(name not in boxed and study in with_box for name, study in zip(ids, studies, strict=True))
    positive = dict(zip(ids, (targets[:, 0] == 0).tolist(), strict=True))
    counts = Counter(positive[name] for name in ids if name not in boxed)
    return (
        *([f"{beside:,} image(s) have no box, though another of their study has one."] * (beside > 0)),
        *([f"{counts[True]:,} image(s) of studies with an appearance of COVID-19 have no box."] * (counts[True] > 0)),
    )  # fmt: skip


DATASET = Dataset("siim-fisabio", TITLE, SOURCE, LICENCE, read, lineage=LINEAGE)
