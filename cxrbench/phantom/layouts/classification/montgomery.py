"""Phantom images as NLM's Montgomery download: PNGs named by class, a reading and the masks of both lungs each."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from cxrbench.data.datasets.classification.montgomery import PREFIX, SIDES, WRAPPERS
from cxrbench.phantom.cases import Case
from cxrbench.phantom.layouts.classification.shenzhen import tuberculosis
from cxrbench.phantom.study import gray


def montgomery_image(folder: Path, case: Case) -> None:
    """Write one image, its reading and its two masks."""
    shown = tuberculosis(case)
    image, base = shown.image(), folder / WRAPPERS[0]
    name = f"{PREFIX}_{case.number + 1:04d}_{int(bool(shown.grades))}"
    t = image.thorax
    drawn = {
        "CXR_png": gray(image.image),
        f"ManualMask/{SIDES['left lung']}": Image.fromarray(t.lung & t.left).convert("L"),
        f"ManualMask/{SIDES['right lung']}": Image.fromarray(t.lung & ~t.left).convert("L"),
    }
    for place, picture in drawn.items():
        (base / place).mkdir(parents=True, exist_ok=True)
        picture.save(base / place / f"{name}.png")
    reading = (
        f"Patient's Sex: {case.sex}\nPatient's Age: {case.age:03d}Y\n{'cavitary TB' if shown.grades else 'normal'}"
    )
    (base / "ClinicalReadings").mkdir(exist_ok=True)
    (base / "ClinicalReadings" / f"{name}.txt").write_text(f"{reading}\n", encoding="utf-8")


def montgomery_tables(folder: Path, part: str, records: Sequence[None]) -> None:
    """Nothing: NLM's download has no table."""
