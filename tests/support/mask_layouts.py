"""Tiny downloads with masks in the official layouts, written by hand: images of 12 x 10 pixels."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxrbench.data.datasets.segmentation.vindr_ribcxr import RIBS

HEIGHT, WIDTH = 12, 10


def png(path: Path, number: int, *, height: int = HEIGHT, width: int = WIDTH) -> None:
    """An image that no other number has."""
    pixels = np.random.default_rng(number).integers(1, 250, (height, width), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def block(top: int, left: int, bottom: int, right: int) -> NDArray[np.bool_]:
    """A mask with one rectangle."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


def mask_png(path: Path, mask: NDArray[np.bool_], value: int = 255) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.where(mask, np.uint8(value), np.uint8(0))).save(path)


def outline(top: float, left: float, bottom: float, right: float) -> list[dict[str, float]]:
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return [{"x": x, "y": y} for x, y in corners]


def vindr_ribcxr(root: Path) -> Path:
    """20 training and 4 validation images; rib R2 overlaps R1, L10 of every image is ``"None"``."""
    for part, count in (("train", 20), ("val", 4)):
        table: dict[str, dict[str, Any]] = {"img": {}, **{rib: {} for rib in RIBS}}
        for n in range(count):
            name = f"VinDr_RibCXR_{part}_{n:03d}.png"
            png(root / part / "img" / name, n + 100 * (part == "val"))
            table["img"][str(n)] = f"data/{part}/img/{name}"
            for k, rib in enumerate(RIBS):
                table[rib][str(n)] = "None" if rib == "L10" else outline(k % 9, 1.0, k % 9 + 2, 7.6)
        (root / part / f"Vindr_RibCXR_{part}_mask.json").write_text(json.dumps(table))
    return root


def qata(root: Path, base: str = "QaTa-COV19/QaTa-COV19-v2") -> Path:
    """20 training and 5 test images; number 3 is of a patient of the test set, 8 and 9 are of one patient."""
    for folder, count in (("Train Set", 20), ("Test Set", 5)):
        for n in range(count):
            subject = {("Train Set", 3): 900, ("Test Set", 0): 900, ("Train Set", 8): 8, ("Train Set", 9): 8}.get(
                (folder, n)
            )
            name = f"covid_{n}" if subject is None else f"sub-S{subject:05d}_ses-E{n:05d}_run-1_bp-chest_vp-ap_dx"
            png(root / base / folder / "Images" / f"{name}.png", n + 100 * (folder == "Test Set"))
            mask_png(root / base / folder / "Ground-truths" / f"mask_{name}.png", block(2, 3, 5, 4 + n % 4))
    mask_png(root / base / "Train Set" / "Ground-truths" / "mask_covid_77.png", block(0, 0, 1, 1))
    return root
