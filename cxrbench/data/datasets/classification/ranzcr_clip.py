"""RANZCR CLiP: 30,083 radiographs of NIH ChestX-ray14 with positions of catheters. Tang et al., Scientific Data 2021.

Columns and folders were checked against public code of the challenge. UNVERIFIED: the number of images, from memory.
The lines along the catheters of some images (``train_annotations.csv``) are not read: no protocol takes lines.
"""

from pathlib import Path

from cxrbench.data.datasets.layout import Layout, image_table, subset_note
from cxrbench.data.manifest import SPLITS, Dataset, Manifest
from cxrbench.data.splits import by_patient

TITLE = "RANZCR CLiP: Catheter and Line Position Challenge"
SOURCE = "https://www.kaggle.com/c/ranzcr-clip-catheter-line-classification/data"
LICENCE = "the challenge's rules on Kaggle; the images: NIH Clinical Center, with a citation of Wang et al., CVPR 2017"
LINEAGE = ("ranzcr-clip", "nih")
OFFICIAL = 30_083
LABELS = (
    "ETT - Abnormal", "ETT - Borderline", "ETT - Normal", "NGT - Abnormal", "NGT - Borderline",
    "NGT - Incompletely Imaged", "NGT - Normal", "CVC - Abnormal", "CVC - Borderline", "CVC - Normal",
    "Swan Ganz Catheter Present",
)  # fmt: skip
LINES = "train_annotations.csv"
FRACTIONS = {"train": 0.7, "val": 0.1, "test": 0.2}
SPLIT = "The challenge's test labels are not public: 70/10/20 of its training images, by patient."


def read(root: Path) -> Manifest:
    """Read ``train.csv`` and ``train/*.jpg``.

    ``StudyInstanceUID`` is an image's name. The eleven labels are of endotracheal (ETT) and nasogastric tubes (NGT),
    central venous catheters (CVC) and Swan-Ganz catheters; an image may have several, of one kind, too. The challenge's
    test images (``test/``) have no public labels and are not read: 70/10/20 of the others by ``PatientID``, which is
    the challenge's own and says nothing of NIH's patients.
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    path = layout.first("train.csv")
    table = layout.table(path, ("StudyInstanceUID", "PatientID", *LABELS))
    ids = table["StudyInstanceUID"]
    layout.unique(ids, path.name)
    found = layout.files(["train"], (".jpg", ".jpeg", ".png"))
    layout.require(ids, found, path.name)
    patients = table["PatientID"]
    images = image_table(
        ids, found, patients=patients, splits=by_patient(patients, FRACTIONS), views=[""] * len(ids), labels=LABELS,
        targets=layout.binary(table, LABELS, path.name),
    )  # fmt: skip
    unread = len(found) - len(ids)
    lines = (root / LINES).is_file()
    return Manifest(
        name="ranzcr-clip",
        root=root,
        images=images,
        labels=LABELS,
        lineage=LINEAGE,
        source=SOURCE,
        licence=LICENCE,
        split_notes={SPLIT: SPLITS},
        notes=(
            SPLIT,
            *((f"The lines along catheters in {LINES} are not read.",) if lines else ()),
            *((f"{unread:,} files without a row in {path.name} were left out.",) if unread else ()),
            *subset_note(len(ids), OFFICIAL, "images"),
        ),
    )


DATASET = Dataset("ranzcr-clip", TITLE, SOURCE, LICENCE, read, lineage=LINEAGE)
