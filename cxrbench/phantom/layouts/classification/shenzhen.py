"""Phantom images as NLM's Shenzhen download: palette PNGs named by class, a reading each, most with a lung mask."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from cxrbench.data.datasets.classification.shenzhen import PREFIX, WRAPPERS
from cxrbench.phantom.cases import Case
from cxrbench.phantom.findings import FIBROSIS, OPACITY
from cxrbench.phantom.study import gray

MASKED = 0.85  # share of images with a lung mask


def tuberculosis(case: Case) -> Case:
    """Every other case with what stands for tuberculosis, opacities and fibrosis; the others with nothing."""
    return case.showing(OPACITY, FIBROSIS) if case.rng(7).random() < 0.5 else case.showing()


def shenzhen_image(folder: Path, case: Case) -> None:
    """Write one image, its reading and, for most, its lung mask."""
    shown = tuberculosis(case)
    image, base = shown.image(), folder / WRAPPERS[0]
    name = f"{PREFIX}_{case.number + 1:04d}_{int(bool(shown.grades))}"
    for place in ("CXR_png", "ClinicalReadings", "mask"):
        (base / place).mkdir(parents=True, exist_ok=True)
    gray(image.image).convert("P").save(base / "CXR_png" / f"{name}.png")
    sex = "female" if case.sex == "F" else "male"
    finding = "bilateral PTB" if shown.grades else "normal"
    (base / "ClinicalReadings" / f"{name}.txt").write_text(f"{sex} {case.age}yrs\n{finding}\n", encoding="utf-8")
    if case.rng(4).random() < MASKED:
        Image.fromarray(image.thorax.lung).convert("L").save(base / "mask" / f"{name}_mask.png")


def shenzhen_tables(folder: Path, part: str, records: Sequence[None]) -> None:
    """Nothing: NLM's download has no table."""
