"""Who is in the phantom datasets: for image number i of a part, which findings at which grade, on what image."""

import uuid
import zlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from cxrbench.phantom.findings import (
    AORTA,
    CARDIOMEGALY,
    EFFUSION,
    FIBROSIS,
    FINDINGS,
    NODULE,
    OPACITY,
    PNEUMOTHORAX,
    THICKENING,
)
from cxrbench.phantom.image import Radiograph, black, render

NUMBERED = (
    "vindr_train", "vindr_test", "rsna", "siim", "mimic", "symile", "lungs", "chexpert", "chexpert-plus", "padchest",
    "brax",
)  # fmt: skip
"""The parts that are seeded by their place here, as they were first drawn; later ones are by their name."""

# Share of images with each finding, normal images included.
VINDR = {OPACITY: 0.18, EFFUSION: 0.14, CARDIOMEGALY: 0.2, PNEUMOTHORAX: 0.09, NODULE: 0.14, THICKENING: 0.15,
         AORTA: 0.18, FIBROSIS: 0.14}  # fmt: skip
NORMAL = 0.4  # share of images with no finding at all, VinDr and SIIM
OTHERS = {
    EFFUSION: 0.3,
    CARDIOMEGALY: 0.3,
    PNEUMOTHORAX: 0.12,
    NODULE: 0.25,
    THICKENING: 0.2,
    AORTA: 0.2,
    FIBROSIS: 0.2,
}
RSNA_CLASSES = ("Lung Opacity", "No Lung Opacity / Not Normal", "Normal")
RSNA_SHARES = (0.28, 0.40, 0.32)
SIIM_PNEUMOTHORAX = 0.26


@dataclass(frozen=True)
class Case:
    """One image: its part, number, identifier (a UUID), sex, age, findings with grades, and size [H, W].

    ``blank``: its images are black; everything else, masks and boxes included, is as it would be.
    """

    part: str
    seed: int
    number: int
    key: uuid.UUID
    sex: str
    age: int
    grades: dict[str, float]
    shape: tuple[int, int]
    blank: bool = False

    def rng(self, purpose: int) -> Generator:
        """A stream of this image alone, so that neither order nor the number of workers matters."""
        return np.random.default_rng((self.seed, seed_of(self.part), self.number, purpose))

    def image(self) -> Radiograph:
        """The image with the findings on it."""
        radiograph = render((self.seed, seed_of(self.part), self.number, 1), self.grades, shape=self.shape)
        return replace(radiograph, paint=lambda: black(self.shape)) if self.blank else radiograph

    def showing(self, *names: str) -> "Case":
        """The same patient, exposed in the same way, with these findings alone, at grades of their own."""
        drawn = self.rng(8).beta(1.5, 1.3, len(names))
        return replace(self, grades={name: float(g) for name, g in zip(names, drawn, strict=True)})

    def uid(self, kind: str) -> str:
        """A DICOM UID derived from the case (the UUID form of PS3.5 B.2)."""
        return f"2.25.{uuid.uuid5(self.key, kind).int}"


def seed_of(part: str) -> int:
    """What a part has in its seeds: no two alike, whatever else there is and in whatever order."""
    return NUMBERED.index(part) if part in NUMBERED else zlib.crc32(part.encode())


def case(part: str, seed: int, number: int) -> Case:
    """The case number ``number`` of a part of the phantom."""
    rng = np.random.default_rng((seed, seed_of(part), number, 0))
    key = uuid.UUID(bytes=rng.bytes(16), version=4)
    if part == "rsna":
        drawn = rng.choice(RSNA_CLASSES, p=RSNA_SHARES)
        names = [] if drawn == "Normal" else _others(rng, OTHERS, at_least=drawn != "Lung Opacity")
        names += [OPACITY] if drawn == "Lung Opacity" else []
    elif part == "siim":
        names = (
            []
            if rng.random() < NORMAL
            else _others(rng, {k: v for k, v in OTHERS.items() if k != PNEUMOTHORAX}, at_least=False)
        )
        names += [PNEUMOTHORAX] if rng.random() < SIIM_PNEUMOTHORAX else []
    else:
        names = (
            []
            if rng.random() < NORMAL
            else _others(rng, {k: v / (1 - NORMAL) for k, v in VINDR.items()}, at_least=False)
        )
    drawn_grades = rng.beta(1.5, 1.3, len(FINDINGS))
    grades = {name: float(g) for name, g in zip(FINDINGS, drawn_grades, strict=True) if name in names}
    shape = (256, 256)
    if part.startswith("vindr"):
        long = int(rng.integers(256, 300))
        shape = (long, 248) if rng.random() < 0.6 else (248, long)
    return Case(part, seed, number, key, "FM"[int(rng.integers(2))], int(rng.integers(18, 90)), grades, shape)


def _others(rng: Generator, shares: dict[str, float], *, at_least: bool) -> list[str]:
    """Findings drawn independently; with ``at_least``, drawn again until there is one."""
    while True:
        names = [name for name, share in shares.items() if rng.random() < share]
        if names or not at_least:
            return names
