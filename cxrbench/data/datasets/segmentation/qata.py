"""QaTa-COV19 v2: 9,258 radiographs of COVID-19 pneumonia with masks of the infection. Degerli et al., ICIP 2022."""

from pathlib import Path

import numpy as np

from cxrbench.data.datasets.layout import Layout, image_table, subset_note
from cxrbench.data.datasets.segmentation.bimcv import patient_of
from cxrbench.data.datasets.segmentation.pairs import base_folder, mask_table, pair
from cxrbench.data.manifest import SPLITS, Dataset, Manifest
from cxrbench.data.splits import by_patient, without_shared
from cxrbench.files.names import some

TITLE = "QaTa-COV19 v2"
SOURCE = "https://www.kaggle.com/datasets/aysendegerli/qatacov19-dataset"
LICENCE = "see the Kaggle page, which asks for a citation; the terms of the images' sources hold as well"
LINEAGE = ("qata", "covid-qu-ex", "bimcv-covid19")
OFFICIAL = {"train": 7_145, "test": 2_113}
LABEL = "Infection"
PLACES = ("", "QaTa-COV19-v2", "QaTa-COV19/QaTa-COV19-v2")
PREFIX = "mask_"
FRACTIONS = {"train": 9, "val": 1}
SPLIT = "Official test set; validation is a tenth of the official training set, by patient."


def read(root: Path) -> Manifest:
    """Read ``{Train,Test} Set/Images/*.png`` and ``{Train,Test} Set/Ground-truths/mask_*.png``, 224 x 224.

    They lie in ``root``, in ``QaTa-COV19-v2`` or in ``QaTa-COV19/QaTa-COV19-v2`` below it, as Kaggle's archive has
    them. ``Control_Group`` (images without COVID-19) has no masks and is not read. Version 1, whose images are all
    in one folder, is refused.

    The official test set is used (PaCX's paper says there is none, its code uses it); validation is a tenth of the
    official training set, by patient. Names of images from BIMCV-COVID19+ (``sub-S...``) tell the patient, any other
    image (``covid_1``) counts as one. Images of the training set whose patient is in the test set are left out, with a
    note. COVID-QU-Ex has images and infection masks of this collection (its version 1), so each is in the other's
    lineage, and BIMCV-COVID19+ in both. The data was not at hand: folders and counts are those of public loaders.
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    if root.is_dir() and (old := [place for place in PLACES if (root / place / "Ground-truths").is_dir()]):
        where = f"{old[0]}/" if old[0] else ""
        raise layout.error(f"{where}Ground-truths is version 1, or resorted; version 2 has 'Train Set' and 'Test Set'")
    base = base_folder(layout, "Train Set", PLACES)
    ids, patients, parts, notes = [], [], [], []
    files, rows = {}, []
    for part, folder in (("train", "Train Set"), ("test", "Test Set")):
        found = pair(layout, f"{base}{folder}/Images", f"{base}{folder}/Ground-truths", prefix=PREFIX)
        for name, file in found.images.items():
            image = f"{part}_{name}"
            ids.append(image)
            patients.append(patient_of(name, image))
            parts.append(part)
            files[image] = file
            rows.append((image, LABEL, found.masks[name]))
        if found.spare:
            notes.append(f"{len(found.spare):,} mask(s) of {folder} are of no image: {some(found.spare)}.")
        notes += subset_note(len(found.images), OFFICIAL[part], f"images in {folder}")
    kept = without_shared(patients, parts)
    if lost := int((~kept).sum()):
        notes.append(f"{lost:,} image(s) of Train Set, whose patients are in Test Set, were left out.")
    ids, patients, parts = ([value for value, k in zip(c, kept, strict=True) if k] for c in (ids, patients, parts))
    dealt = iter(by_patient([p for p, part in zip(patients, parts, strict=True) if part == "train"], FRACTIONS))
    images = image_table(
        ids, files, patients=patients, splits=[str(next(dealt)) if part == "train" else "test" for part in parts],
        labels=(), views=[""] * len(ids), targets=np.zeros((len(ids), 0), np.float32),
    )  # fmt: skip
    there = set(ids)
    return Manifest(
        name="qata",
        root=root,
        images=images,
        labels=(),
        masks=mask_table(layout, [row for row in rows if row[0] in there], {name: files[name] for name in ids}),
        lineage=LINEAGE,
        source=SOURCE,
        licence=LICENCE,
        split_notes={SPLIT: SPLITS},
        notes=(
            SPLIT,
            "Patients are BIMCV's, where an image's name tells them; any other image counts as a patient.",
            *notes,
        ),
    )


DATASET = Dataset("qata", TITLE, SOURCE, LICENCE, read, lineage=LINEAGE)
