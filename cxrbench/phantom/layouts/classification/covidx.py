"""Phantom images as COVIDx 9A: a list per split with patient, file, class and source."""

from collections.abc import Sequence
from pathlib import Path

from cxrbench.phantom.cases import Case
from cxrbench.phantom.findings import FIBROSIS, OPACITY
from cxrbench.phantom.study import gray

CLASSES: dict[str, tuple[str, ...]] = {"normal": (), "pneumonia": (OPACITY,), "COVID-19": (FIBROSIS,)}
"""Each class with the findings that stand for it."""
SOURCES = {"normal": ("rsna",), "pneumonia": ("rsna", "cohen"), "COVID-19": ("ricord", "cohen", "sirm")}
SPLITS = ("train",) * 15 + ("test",) * 5


def covidx_image(folder: Path, case: Case) -> tuple[str, str]:
    """Write one image; returns its split and its row of the list. The patients of one source have a blank in them."""
    rng, split = case.rng(7), SPLITS[case.number % 20]
    found = str(rng.choice(list(CLASSES)))
    source = str(rng.choice(SOURCES[found]))
    patient = f"COVID {case.number}" if source == "sirm" else str(case.key)
    name = f"COVID({case.number}).png" if source == "sirm" else f"{case.key}.{'jpg' if source == 'cohen' else 'png'}"
    (folder / split).mkdir(exist_ok=True)
    gray(case.showing(*CLASSES[found]).image().image).save(folder / split / name)
    return split, f"{patient} {name} {found} {source}"


def covidx_tables(folder: Path, part: str, records: Sequence[tuple[str, str]]) -> None:
    """The two lists."""
    for split in ("train", "test"):
        rows = [row for of, row in records if of == split]
        (folder / f"{split}_COVIDx9A.txt").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
