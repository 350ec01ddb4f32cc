"""A folder of image files and nothing else: a dataset without labels, for pretraining."""

import os
from collections import Counter
from pathlib import Path

import numpy as np

from cxrbench.data.attributes import read_views, with_attributes
from cxrbench.data.custom.files import find_images
from cxrbench.data.datasets.layout import image_table
from cxrbench.data.decode.dicom import is_dicom, read_header
from cxrbench.data.manifest import Manifest
from cxrbench.errors import BadImageError, UserError
from cxrbench.files.names import is_folder_name, plain

IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
PASSED_OVER = ("__MACOSX",)
HEADER = {
    "patient": "PatientID", "study": "StudyInstanceUID", "view": "ViewPosition", "sex": "PatientSex",
    "age": "PatientAge", "scanner": "Manufacturer",
}  # fmt: skip
"""What the header of a DICOM file says, by what it is here."""


def read_folder(folder: Path) -> Manifest:
    """Every image file in or below a folder, all of them to be trained on.

    Patient, study, view, sex, age and scanner come from the headers of DICOM files; of another file nothing is known,
    and it is a patient by itself. Files that are no images are counted in the notes, hidden ones passed over. Raises
    UserError for a folder without images, and one whose name cannot be a dataset's.
    """
    if not is_folder_name(folder.name):
        raise UserError(f"{folder} has no name that will do for a dataset: give the folder another")
    names, others = _files(folder)
    if not names:
        raise UserError(f"{folder} holds no image files ({', '.join(IMAGES)}, DICOM), and no labels.csv")
    known = [_header(folder / name) for name in names]
    table = {key: [one.get(key, "") for one in known] for key in HEADER}
    views, view_notes = read_views(table["view"])
    images = image_table(
        names, find_images(folder / "labels.csv", names), views=views, splits=["train"] * len(names), labels=(),
        patients=[patient or name for patient, name in zip(table["patient"], names, strict=True)],
        studies=[study or name for study, name in zip(table["study"], names, strict=True)],
        targets=np.zeros((len(names), 0), np.float32),
    )  # fmt: skip
    without = table["patient"].count("")
    notes = ["A folder of images without labels: every image is one to train on (pretraining)."]
    notes += [f"{without:,} image(s) name no patient: each counts as one."] if without else []
    if others:
        kinds = ", ".join(f"{count:,} {plain(kind or 'without ending')}" for kind, count in sorted(others.items()))
        notes.append(f"Files that are no images were left out: {kinds}.")
    return Manifest(
        name=folder.name, root=folder, images=with_attributes(images, table, {x: x for x in ("sex", "age", "scanner")}),
        labels=(), source=str(folder), notes=(*notes, *view_notes),
    )  # fmt: skip


def _files(folder: Path) -> tuple[list[str], Counter[str]]:
    """Paths of images below the folder, sorted, and how many other files there are, by their endings."""
    names: list[str] = []
    others: Counter[str] = Counter()
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in PASSED_OVER]
        for name in files:
            if name.startswith("."):
                continue
            path = Path(place, name)
            ending = path.suffix.lower()
            if ending in IMAGES or _is_dicom(path):
                names.append(path.relative_to(folder).as_posix())
            else:
                others[ending] += 1
    return sorted(names), others


def _is_dicom(path: Path) -> bool:
    try:
        return is_dicom(path)
    except OSError:
        return False


def _header(path: Path) -> dict[str, str]:
    """What a DICOM's header says; nothing of other files, and of what cannot be read (decoding says why)."""
    if path.suffix.lower() in IMAGES:
        return {}
    try:
        header = read_header(path)
    except BadImageError:
        return {}
    return {key: " ".join(str(header.get(tag, "") or "").split()) for key, tag in HEADER.items()}
