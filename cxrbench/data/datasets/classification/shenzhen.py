"""Shenzhen: 662 radiographs of a hospital, 336 of them with tuberculosis. Jaeger et al., QIMS 4(6):475, 2014.

Lung masks of 566 of them are a third party's (Stirenko et al., arXiv:1803.01199; Kaggle ``yoctoman/shcxr-lung-mask``).
Checked against public readers of the layouts below; the masks and tables of findings that NLM added later
(``Annotations``) are not read.
"""

from pathlib import Path

from cxrbench.data.attributes import with_attributes
from cxrbench.data.datasets.classification import tuberculosis as nlm
from cxrbench.data.datasets.classification.tuberculosis import LICENCE as NLM
from cxrbench.data.datasets.layout import Layout, image_table, subset_note
from cxrbench.data.manifest import SPLITS, Dataset, Manifest

TITLE = "Shenzhen tuberculosis chest X-rays (NLM)"
SOURCE = "https://data.lhncbc.nlm.nih.gov/public/Tuberculosis-Chest-X-ray-Datasets/Shenzhen-Hospital-CXR-Set/"
LICENCE = f"{NLM}; the masks: CC BY-NC-SA 4.0"
LINEAGE = ("shenzhen",)
OFFICIAL = 662
PREFIX = "CHNCXR"
WRAPPERS = ("ChinaSet_AllFiles", "Shenzhen-Hospital-CXR-Set")
TABLE = "shenzhen_metadata.csv"
MASK_FOLDERS = ("mask", "masks")
SPLIT = "No official split, no patient ids: 70/10/20 of the images, stratified by class."


def read(root: Path) -> Manifest:
    """Read ``CXR_png/CHNCXR_0001_0.png`` and ``ClinicalReadings/`` (NLM), or ``images/images/`` and
    ``shenzhen_metadata.csv`` (Kaggle's ``raddar/tuberculosis-chest-xrays-shenzhen``).

    The class is the file name's last figure, 1 for tuberculosis; the table's ``findings`` are compared with it. Nobody
    says whose an image is: each is a patient of its own. There is no official split: 70/10/20, stratified by class.
    Masks ``CHNCXR_0001_0_mask.png`` in ``mask/`` or ``masks/`` are of both lungs; images without one have none that is
    known. Sex and age are the reading's or the table's.
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    base, files, others = nlm.find_images(layout, PREFIX, WRAPPERS)
    ids = sorted(files)
    known, notes = nlm.what_is_known(layout, base + TABLE, base + "ClinicalReadings", files)
    lungs = layout.files(_mask_folders(root, base), (".png",))
    masks = nlm.mask_table(layout, {"lung": lungs}, files)
    images = image_table(
        ids, files, patients=ids, splits=nlm.splits_of(ids), views=["PA"] * len(ids), labels=(nlm.LABEL,),
        targets=nlm.targets_of(ids),
    )  # fmt: skip
    return Manifest(
        name="shenzhen",
        root=root,
        images=with_attributes(images, known, {"sex": "sex", "age": "age"}),
        labels=(nlm.LABEL,),
        masks=masks,
        lineage=LINEAGE,
        source=SOURCE,
        licence=LICENCE,
        split_notes={SPLIT: SPLITS},
        notes=(
            SPLIT,
            *notes,
            *_masked(0 if masks is None else len(masks), len(ids)),
            *((f"{others:,} images of Montgomery in the same folder were left out.",) if others else ()),
            *subset_note(len(ids), OFFICIAL, "images"),
        ),
    )


def _mask_folders(root: Path, base: str) -> list[str]:
    """The first folder that the lungs' masks may lie in."""
    return [place for place in (base + folder for folder in MASK_FOLDERS) if (root / place).is_dir()][:1]


def _masked(masks: int, images: int) -> tuple[str, ...]:
    return (f"{masks:,} of {images:,} images have a lung mask, of a third party.",) if masks else ()


DATASET = Dataset("shenzhen", TITLE, SOURCE, LICENCE, read, lineage=LINEAGE)
