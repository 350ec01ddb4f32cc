"""CheXchoNet 1.0.0: 71,589 radiographs of 24,689 patients, labelled by echocardiography. Bhave et al., EHJ 2024.

The columns were checked against public readers of the release; UNVERIFIED: that all images are PA, and that the three
measurements are in centimetres.
"""

import os
from pathlib import Path

from cxrbench.data.attributes import with_attributes
from cxrbench.data.datasets.layout import Layout, image_table, subset_note
from cxrbench.data.manifest import QUANTITY, SPLITS, Dataset, Manifest
from cxrbench.data.splits import by_patient

TITLE = "CheXchoNet 1.0.0"
SOURCE = "https://physionet.org/content/chexchonet/1.0.0/"
LICENCE = "PhysioNet Restricted Health Data License 1.5.0: a signed agreement; no redistribution"
LINEAGE = ("chexchonet",)
OFFICIAL = 71_589
LABELS = ("composite_slvh_dlv", "slvh", "dlv")
QUANTITIES = ("ivsd", "lvpwd", "lvidd")
COLUMNS = ("cxr_filename", "patient_id", *LABELS, *QUANTITIES)
FRACTIONS = {"train": 0.7, "val": 0.1, "test": 0.2}
SPLIT = "No official split: 70/10/20 by patient (public code splits by image, across patients)."


def read(root: Path) -> Manifest:
    """Read ``metadata.csv`` and ``images/*.jpg``.

    Labels are severe left ventricular hypertrophy (``slvh``), dilated left ventricle (``dlv``) and either of them
    (``composite_slvh_dlv``), which is the headline. Numbers to be predicted are the septum's and the posterior wall's
    thickness (``ivsd``, ``lvpwd``) and the ventricle's inner diameter (``lvidd``), in diastole. Transplants and
    pacemakers, which the table has, too, are not read. There is no official split: 70/10/20 by patient. Public code
    deals out images, so that patients with several are on both sides; figures made so are not comparable.
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    path = layout.first("metadata.csv")
    table = layout.table(path, COLUMNS)
    ids = [os.path.splitext(name)[0] for name in table["cxr_filename"]]
    layout.unique(ids, path.name)
    files = layout.files(["images"], (".jpg", ".jpeg", ".png"))
    layout.require(ids, files, path.name)
    targets = layout.binary(table, LABELS, path.name)
    odd = int((targets[:, 0] != targets[:, 1:].max(axis=1)).sum())
    images = image_table(
        ids, files, patients=table["patient_id"], splits=by_patient(table["patient_id"], FRACTIONS),
        views=["PA"] * len(ids), labels=LABELS, targets=targets,
    )  # fmt: skip
    numbers = {QUANTITY + name: layout.numbers(table, name, path.name).astype("float32") for name in QUANTITIES}
    return Manifest(
        name="chexchonet",
        root=root,
        images=with_attributes(images.assign(**numbers), table, {"sex": "sex", "age": "age"}),
        labels=LABELS,
        groups={"macro": LABELS[:1], "all": LABELS},
        quantities=QUANTITIES,
        lineage=LINEAGE,
        source=SOURCE,
        licence=LICENCE,
        split_notes={SPLIT: SPLITS},
        notes=(
            SPLIT,
            *((f"{odd:,} rows where {LABELS[0]} is not {LABELS[1]} or {LABELS[2]}: read as they are.",) if odd else ()),
            *subset_note(len(ids), OFFICIAL, "images"),
        ),
    )


DATASET = Dataset("chexchonet", TITLE, SOURCE, LICENCE, read, lineage=LINEAGE)
