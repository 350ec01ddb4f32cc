"""Montgomery County: 138 radiographs, 58 with tuberculosis, with masks of both lungs. Jaeger et al., QIMS 4(6), 2014.

Checked against public readers of the layouts below. UNVERIFIED: that ``leftMask`` is the patient's left lung.
"""

from pathlib import Path

from cxrbench.data.attributes import with_attributes
from cxrbench.data.datasets.classification import tuberculosis as nlm
from cxrbench.data.datasets.classification.tuberculosis import LICENCE as NLM
from cxrbench.data.datasets.layout import File, Layout, image_table, subset_note
from cxrbench.data.manifest import SPLITS, Dataset, Manifest
from cxrbench.files.names import some

TITLE = "Montgomery County chest X-rays (NLM)"
SOURCE = "https://data.lhncbc.nlm.nih.gov/public/Tuberculosis-Chest-X-ray-Datasets/Montgomery-County-CXR-Set/"
LICENCE = NLM
LINEAGE = ("montgomery",)
OFFICIAL = 138
PREFIX = "MCUCXR"
WRAPPERS = ("MontgomerySet", "NLM-MontgomeryCXRSet", "NLM-MontgomeryCXRSet/MontgomerySet", "Montgomery/MontgomerySet")
TABLE = "montgomery_metadata.csv"
SIDES = {"left lung": "leftMask", "right lung": "rightMask"}
SPLIT = "No official split: 70/10/20 of the images, stratified by class."


def read(root: Path) -> Manifest:
    """Read ``CXR_png/MCUCXR_0001_0.png``, ``ManualMask/leftMask`` and ``rightMask`` and ``ClinicalReadings/`` (NLM), or
    ``images/images/`` and ``montgomery_metadata.csv`` (Kaggle's ``raddar/tuberculosis-chest-xrays-montgomery``, which
    has no masks).

    The class is the file name's last figure, 1 for tuberculosis; the table's ``findings`` are compared with it. Each
    image is a patient of its own. There is no official split: 70/10/20, stratified by class. The masks are called as
    their image, leave out the lung behind the heart, and are two labels, the patient's left and right lung; where a
    copy has united them (``masks/``), they are one, ``lung``. Sex and age are the reading's or the table's.
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    base, files, others = nlm.find_images(layout, PREFIX, WRAPPERS)
    ids = sorted(files)
    masks = _masks(layout, base)
    lacking = {label: [name for name in ids if name not in of] for label, of in masks.items()}
    known, notes = nlm.what_is_known(layout, base + TABLE, base + "ClinicalReadings", files)
    images = image_table(
        ids, files, patients=ids, splits=nlm.splits_of(ids), views=["PA"] * len(ids), labels=(nlm.LABEL,),
        targets=nlm.targets_of(ids),
    )  # fmt: skip
    return Manifest(
        name="montgomery",
        root=root,
        images=with_attributes(images, known, {"sex": "sex", "age": "age"}),
        labels=(nlm.LABEL,),
        masks=nlm.mask_table(layout, masks, files),
        lineage=LINEAGE,
        source=SOURCE,
        licence=LICENCE,
        split_notes={SPLIT: SPLITS},
        notes=(
            SPLIT,
            *notes,
            *(("No masks: neither ManualMask/leftMask and rightMask nor masks are there.",) if not masks else ()),
            *(f"{len(names):,} images have no mask of the {label}: {some(names)}." for label, names in lacking.items()
              if names),
            *((f"{others:,} images of Shenzhen in the same folder were left out.",) if others else ()),
            *subset_note(len(ids), OFFICIAL, "images"),
        ),
    )  # fmt: skip


def _masks(layout: Layout, base: str) -> dict[str, dict[str, File]]:
    """The mask files by label and image: of each side, or of both lungs where they were united."""
    sides = {label: f"{base}ManualMask/{folder}" for label, folder in SIDES.items()}
    there = [place for place in sides.values() if (layout.root / place).is_dir()]
    if len(there) == 1:
        raise layout.error(f"{there[0]} is there without its companion; add it, or remove it to go without masks")
    if there:
        return {label: layout.files([place], (".png",)) for label, place in sides.items()}
    united = f"{base}masks"
    return {"lung": layout.files([united], (".png",))} if (layout.root / united).is_dir() else {}


DATASET = Dataset("montgomery", TITLE, SOURCE, LICENCE, read, lineage=LINEAGE)
