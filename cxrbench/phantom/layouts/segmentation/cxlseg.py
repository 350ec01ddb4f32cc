"""Phantom images as the CXLSeg download, with the originals beside it: lungs on black, masks, and MIMIC's own JPEGs."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cxrbench.data.datasets.segmentation.cxlseg import COLUMNS, ORIGINALS, TABLE
from cxrbench.phantom.cases import Case
from cxrbench.phantom.layouts.tables import write_csv

SIDE = 224
FIRST, FIRST_STUDY = 18_000_000, 58_000_000  # of nobody in the phantom of MIMIC
SPLITS = ("train",) * 8 + ("validate",) * 2 + ("test",) * 2


def cxlseg_image(folder: Path, case: Case) -> list[Any]:
    """Write one image as MIMIC has it, the segmented picture and the mask; returns its row of the table.

    Two images of each patient follow each other.
    """
    image = case.image()
    subject, study = FIRST + case.number // 2, FIRST_STUDY + case.number
    rng = case.rng(5)
    name = "-".join(rng.bytes(4).hex() for _ in range(5))
    place = Path("files") / f"p{str(subject)[:2]}" / f"p{subject}" / f"s{study}"
    pixels = Image.fromarray(np.rint(image.image * 255).astype(np.uint8))
    small = np.asarray(pixels.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    lung = np.asarray(Image.fromarray(image.thorax.lung).resize((SIDE, SIDE), Image.Resampling.NEAREST))
    for path, picture in (
        (folder / ORIGINALS / place / f"{name}.jpg", pixels),
        (folder / place / f"{name}.jpg", Image.fromarray(np.where(lung, small, np.uint8(0)))),
        (folder / place / f"{name}-mask.jpg", Image.fromarray(np.where(lung, np.uint8(255), np.uint8(0)))),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, quality=95)
    return [name, subject, study, SPLITS[case.number % len(SPLITS)]]


def cxlseg_tables(folder: Path, part: str, records: list[list[Any]]) -> None:
    """``CXLSeg-split.csv``."""
    write_csv(folder / TABLE, list(COLUMNS), records)
