"""The phantom's segmentation dataset: images with masks of lung, heart and findings, as a user's CSV has them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxrbench.data.manifest import Dataset, Manifest
from cxrbench.errors import UserError
from cxrbench.phantom.anatomy import Thorax
from cxrbench.phantom.cases import Case
from cxrbench.phantom.findings import EFFUSION, FINDINGS, NODULE, OPACITY, PNEUMOTHORAX
from cxrbench.phantom.image import Radiograph
from cxrbench.phantom.layouts.tables import TableRows, write_csv

TITLE = "Phantom lungs: procedural images with masks of lung, heart and findings"
SOURCE = "cxrbench data phantom"
LICENCE = "Apache-2.0 (synthetic)"
CLASSES = {"lung": 1, "heart": 2, OPACITY: 3, EFFUSION: 4, PNEUMOTHORAX: 5, NODULE: 6}
IGNORE = 255
SPLITS = ("train",) * 12 + ("val",) * 3 + ("test",) * 5


def lungs_image(folder: Path, case: Case) -> list[object]:
    """Write one image and its mask; returns its row of ``labels.csv``."""
    image = case.image()
    thorax = image.thorax
    name = case.key.hex[:12]
    for kind, pixels in (("images", np.rint(image.image * 255).astype(np.uint8)), ("masks", mask(thorax, image))):
        (folder / kind).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / kind / f"{name}.png")
    found = [int(finding in case.grades) for finding in FINDINGS]
    files = f"images/{name}.png", f"masks/{name}.png"
    return [files[0], f"p{name[:8]}", SPLITS[case.number % 20], image.view, files[1], *found]


def lungs_tables(folder: Path, part: str, records: Sequence[list[object]]) -> None:
    """``labels.csv``, and ``labels.toml`` that says what the pixel values mean."""
    rows: TableRows = list(records)
    write_csv(folder / "labels.csv", ["image", "patient", "split", "view", "mask", *FINDINGS], rows)
    classes = ", ".join(f'"{name}" = {value}' for name, value in CLASSES.items())
    names = ", ".join(f'"{name}"' for name in FINDINGS)
    lines = (
        'name = "lungs"', f'source = "{SOURCE}"', f'licence = "{LICENCE}"', 'lineage = ["lungs"]',
        'mask = "mask"', f"mask_classes = {{ {classes} }}", f"mask_ignore = {IGNORE}", f"labels = [{names}]",
    )  # fmt: skip
    (folder / "labels.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def mask(t: Thorax, image: Radiograph) -> NDArray[np.uint8]:
    """Class of each pixel [H, W]: CLASSES, 0 elsewhere; a finding replaces the lung that it lies in.

    Where the heart's shadow goes over into the diaphragm's nobody can say which it is: IGNORE.
    """
    values = np.where(t.lung, np.uint8(CLASSES["lung"]), np.uint8(0))
    values[t.heart & ~t.lung] = CLASSES["heart"]
    values[t.heart & ~t.lung & (t.from_dome < 0)] = IGNORE
    for finding in image.findings:
        if finding.name in CLASSES:
            values[finding.mask & t.lung] = CLASSES[finding.name]
    return values


def read(root: Path) -> Manifest:
    """Read ``labels.csv`` as any user's CSV."""
    from cxrbench.data.custom.dataset import read_csv

    if not (root / "labels.csv").is_file():
        raise UserError(f"{TITLE} in {root}: labels.csv is missing. It is written by: {SOURCE} --out {root.parent}")
    return read_csv(root / "labels.csv")


DATASET = Dataset("lungs", TITLE, SOURCE, LICENCE, read, lineage=("lungs",))
