"""Phantom images as the SIIM-ACR Pneumothorax download: JPEG in DICOM, and run-length masks."""

from pathlib import Path

import numpy as np

from cxrbench.data.annotations.rle import encode_siim
from cxrbench.phantom.cases import Case
from cxrbench.phantom.findings import PNEUMOTHORAX, regions
from cxrbench.phantom.layouts.dicom_files import write_jpeg


def siim_image(folder: Path, case: Case) -> list[str]:
    """Write one SIIM image; returns its lines of ``train-rle.csv``, one per region of the mask."""
    image = case.image()
    study, series, name = case.uid("study"), case.uid("series"), case.uid("instance")
    write_jpeg(case, image, folder / "dicom-images-train" / study / series / f"{name}.dcm")
    masks = [region for f in image.placed.of(PNEUMOTHORAX) for region in regions(f.mask)]
    if masks and (rng := case.rng(4)).random() < 0.35:  # one region annotated in two rows, upper and lower
        upper = masks[0].copy()
        upper[int(rng.choice(np.flatnonzero(masks[0].any(1)))) :] = False
        masks = [m for m in (upper, masks[0] & ~upper, *masks[1:]) if m.any()]
    return [f"{name}, {encode_siim(mask)}" for mask in masks] or [f"{name}, -1"]


def siim_tables(folder: Path, part: str, records: list[list[str]]) -> None:
    """``train-rle.csv``, with the blank after each comma that the original has, its header included."""
    lines = ["ImageId, EncodedPixels", *(line for record in records for line in record)]
    (folder / "train-rle.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
