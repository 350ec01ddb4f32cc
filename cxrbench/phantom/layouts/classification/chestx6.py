"""Phantom images as the ChestX6 download: JPEGs in a folder per split and class."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from cxrbench.data.datasets.classification.chestx6 import WRAPPERS
from cxrbench.phantom.cases import Case
from cxrbench.phantom.findings import EFFUSION, FIBROSIS, NODULE, OPACITY, PNEUMOTHORAX
from cxrbench.phantom.study import gray

SIDE = 224  # pixels of an image, as in the original
CLASSES: dict[str, tuple[str, ...]] = {
    "Covid-19": (EFFUSION,), "Emphysema": (PNEUMOTHORAX,), "Normal": (), "Pneumonia-Bacterial": (OPACITY,),
    "Pneumonia-Viral": (NODULE,), "Tuberculosis": (FIBROSIS,),
}  # fmt: skip
"""Each class with the finding that stands for it."""
SPLITS = ("train", "val", "test", "train", "test", "train", "train", "val", "train", "train")  # of a class's images


def chestx6_image(folder: Path, case: Case) -> None:
    """Write one image; classes come in turn."""
    turn, at = divmod(case.number, len(CLASSES))
    found, signs = list(CLASSES.items())[at]
    place = folder / WRAPPERS[-1] / SPLITS[turn % len(SPLITS)] / found
    place.mkdir(parents=True, exist_ok=True)
    small = gray(case.showing(*signs).image().image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    small.save(place / f"{turn}.jpg", "JPEG", quality=95)


def chestx6_tables(folder: Path, part: str, records: Sequence[None]) -> None:
    """The folders that no image is in yet: the download has no table."""
    for split in dict.fromkeys(SPLITS):
        for found in CLASSES:
            (folder / WRAPPERS[-1] / split / found).mkdir(parents=True, exist_ok=True)
