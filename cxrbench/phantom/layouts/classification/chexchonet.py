"""Phantom images as the CheXchoNet download: JPEGs and one table with echo measurements; two images of each patient."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from cxrbench.data.datasets.classification.chexchonet import LABELS, QUANTITIES
from cxrbench.phantom.cases import Case
from cxrbench.phantom.findings import CARDIOMEGALY
from cxrbench.phantom.layouts.tables import write_csv
from cxrbench.phantom.study import gray

SIDE = 224  # pixels of an image, as in the original
THICK, WIDE = 1.25, 5.6  # centimetres from which a wall is too thick, the ventricle too wide
HEADER = [
    "patient_id", "cxr_filename", "cxr_time_offset", "cxr_year", "cxr_path", "cxr_pixel_spacing_x",
    "cxr_pixel_spacing_y", "age", "sex", *QUANTITIES, *LABELS[1:], LABELS[0], "heart_transplant", "lung_transplant",
    "pacemaker_or_icd",
]  # fmt: skip


def chexchonet_image(folder: Path, case: Case) -> list[Any]:
    """Write one image; returns its row of the table. A larger heart has thicker walls and is wider inside."""
    rng = case.rng(7)
    shown = case.showing(*[CARDIOMEGALY] * (rng.random() < 0.6))
    grade = shown.grades.get(CARDIOMEGALY, 0.0)
    septum, wall = (round(0.95 + 0.55 * grade + float(rng.normal(0, 0.08)), 2) for _ in range(2))
    inner = round(4.6 + 1.8 * grade + float(rng.normal(0, 0.25)), 2)
    slvh, dlv = int(max(septum, wall) >= THICK), int(inner >= WIDE)
    name = f"{case.key.hex}.jpg"
    (folder / "images").mkdir(exist_ok=True)
    small = gray(shown.image().image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    small.save(folder / "images" / name, "JPEG", quality=95)
    return [
        f"P{case.number // 2:05d}", name, 30 * (case.number % 2), 2015, f"images/{name}", 0.14, 0.14, f"{case.age}.0",
        case.sex, septum, wall, inner, slvh, dlv, slvh | dlv, 0, 0, 0,
    ]  # fmt: skip


def chexchonet_tables(folder: Path, part: str, records: Sequence[list[Any]]) -> None:
    """``metadata.csv``."""
    write_csv(folder / "metadata.csv", HEADER, records)
