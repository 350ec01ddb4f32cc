"""CXR-LT 2026, task 1: PadChest's radiographs under 30 classes with a long tail. Dong et al., arXiv:2602.22092.

Columns and classes were checked against public code of three teams. UNVERIFIED: the number of training images, about
120,000 in a team's notes; that all of them are PadChest's (NIH's are said to be in the test sets). The labels of the
development and test sets (``CXRLT_2026_TEST_ALL_TASK1.csv`` and others) are not public, and those of PadChest's table
are not to be put in their place: these images are not read.
"""

import re
from pathlib import Path

from cxrbench.data.datasets.layout import Layout, image_table
from cxrbench.data.manifest import SPLITS, Dataset, Manifest
from cxrbench.data.splits import by_patient
from cxrbench.data.tables import identifier, is_empty
from cxrbench.files.names import some

TITLE = "CXR-LT 2026, task 1"
SOURCE = "https://cxr-lt.github.io/CXR-LT-2026/ (images: https://bimcv.cipf.es/bimcv-projects/padchest/)"
LICENCE = "the challenge's rules; the images: PadChest Dataset Research Use Agreement (BIMCV)"
LINEAGE = ("cxr-lt", "padchest")
TABLE = "CXRLT_2026_training.csv"
LABELS = (
    "Normal", "aortic elongation", "cardiomegaly", "pleural effusion", "Nodule", "atelectasis", "pleural thickening",
    "aortic atheromatosis", "Support Devices", "alveolar pattern", "fracture", "Hernia", "Emphysema", "azygos lobe",
    "Hydropneumothorax", "Kyphosis", "Mass", "Pneumothorax", "Subcutaneous Emphysema", "pneumoperitoneo",
    "vascular hilar enlargement", "vertebral degenerative changes", "hyperinflated lung", "interstitial pattern",
    "central venous catheter", "hypoexpansion", "bronchiectasis", "hemidiaphragm elevation", "sternotomy",
    "calcified densities",
)  # fmt: skip
FRACTIONS = {"train": 0.7, "val": 0.1, "test": 0.2}
ROUNDED = re.compile(r"\d(?:\.\d+)?e\+?\d+", re.IGNORECASE)
SPLIT = "The labels of the challenge's test set are not public: 70/10/20 of its training images, by patient."


def read(root: Path) -> Manifest:
    """Read ``CXRLT_2026_training.csv`` and the PNGs below ``root``.

    An image is found by its name. Rows without a file are left out and counted in a note, for PadChest's archives lack
    some and few people have all of them. There is no public test set: 70/10/20 by patient. PadChest's PatientIDs have
    38 digits; where pandas has rounded them (``3.13e+38``) they are still told apart here, but not matched with
    PadChest's. A row without a patient counts as one of its own.
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    path = layout.first(TABLE)
    whole = layout.table(path, ("ImageID", "PatientID", *LABELS))
    files = layout.files([""], (".png", ".jpg", ".jpeg"))
    stems = [name.rpartition(".")[0] or name for name in whole["ImageID"]]
    there = [row for row, stem in enumerate(stems) if stem in files]
    if not there:
        raise layout.error(f"not one image of {path.name} is there ({some(stems)})")
    table = {name: [column[row] for row in there] for name, column in whole.items()}
    ids = [stems[row] for row in there]
    layout.unique(ids, path.name)
    cells = zip(table["PatientID"], ids, strict=True)
    patients = [image if is_empty(patient) else identifier(patient) for patient, image in cells]
    alone = sum(map(is_empty, table["PatientID"]))
    rounded = any(ROUNDED.fullmatch(patient) for patient in patients)
    images = image_table(
        ids, files, patients=patients, splits=by_patient(patients, FRACTIONS), views=[""] * len(ids), labels=LABELS,
        targets=layout.binary(table, LABELS, path.name),
    )  # fmt: skip
    return Manifest(
        name="cxr-lt",
        root=root,
        images=images,
        labels=LABELS,
        lineage=LINEAGE,
        own_patients=rounded,
        source=SOURCE,
        licence=LICENCE,
        split_notes={SPLIT: SPLITS},
        notes=(
            SPLIT,
            *(("PatientIDs are rounded: patients cannot be matched with PadChest's.",) if rounded else ()),
            *((f"{alone:,} images have no PatientID: each counts as a patient.",) if alone else ()),
            *((f"{len(stems) - len(ids):,} rows without an image file were left out.",) if len(stems) > len(ids)
              else ()),
        ),
    )  # fmt: skip


DATASET = Dataset("cxr-lt", TITLE, SOURCE, LICENCE, read, lineage=LINEAGE, patients="padchest")
