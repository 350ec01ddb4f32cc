"""Phantom ICU stays as PaCX-MAE's scripts write MedMod: a table per split with its JPEGs, patients on both sides."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cxrbench.data.datasets.classification.medmod import DEATHS, PHENOTYPES, SPLIT_TABLES
from cxrbench.phantom.cases import Case
from cxrbench.phantom.findings import AORTA, CARDIOMEGALY, EFFUSION, FIBROSIS, OPACITY, PNEUMOTHORAX, THICKENING
from cxrbench.phantom.layouts.tables import write_csv
from cxrbench.phantom.study import gray

SIGNS = {
    "Cardiac dysrhythmias": {CARDIOMEGALY},
    "Chronic obstructive pulmonary disease and bronchiectasis": {FIBROSIS},
    "Congestive heart failure; nonhypertensive": {CARDIOMEGALY, EFFUSION},
    "Coronary atherosclerosis and other heart disease": {AORTA},
    "Essential hypertension": {AORTA, CARDIOMEGALY},
    "Fluid and electrolyte disorders": {EFFUSION},
    "Other lower respiratory disease": {FIBROSIS, THICKENING},
    "Pleurisy; pneumothorax; pulmonary collapse": {EFFUSION, PNEUMOTHORAX},
    "Pneumonia (except that caused by tuberculosis or sexually transmitted disease)": {OPACITY},
    "Respiratory failure; insufficiency; arrest (adult)": {OPACITY, EFFUSION},
    "Septicemia (except in labor)": {OPACITY},
}
"""Phenotypes that can be seen, and by which findings; the others are drawn by lot."""
SHARE = 0.25  # of stays with each of the others
SPLITS = ("train",) * 14 + ("val",) * 2 + ("test",) * 4
HEADER = [
    "subject_id", "hadm_id", "stay_id", "intime", "outtime", "admittime", "dischtime", "deathtime", "anchor_age", "dod",
    *DEATHS, *PHENOTYPES, "cxr_path",
]  # fmt: skip


def medmod_image(folder: Path, case: Case) -> tuple[str, list[Any]]:
    """Write one image; returns its split and its row of that table."""
    rng, split = case.rng(7), SPLITS[case.number % 20]
    name = "-".join(rng.bytes(4).hex() for _ in range(5)) + ".jpg"
    (folder / split).mkdir(exist_ok=True)
    gray(case.image().image).save(folder / split / name, "JPEG", quality=92)
    marks = [
        int(not SIGNS[one].isdisjoint(case.grades) if one in SIGNS else rng.random() < SHARE)
        for one in (*DEATHS, *PHENOTYPES)
    ]
    patient = 10_000_000 + 7_919 * (case.number // 3)
    times = ["2180-05-06 22:30:00", "2180-05-09 10:00:00", "2180-05-06 22:23:00", "2180-05-12 17:15:00"]
    stay = [20_000_000 + case.number, 30_000_000 + case.number]
    return split, [patient, *stay, *times, "", case.age, "", *marks, name]


def medmod_tables(folder: Path, part: str, records: Sequence[tuple[str, list[Any]]]) -> None:
    """The tables of the splits."""
    for name in SPLIT_TABLES:
        split = name.partition("/")[0]
        (folder / split).mkdir(exist_ok=True)
        write_csv(folder / name, HEADER, (row for of, row in records if of == split))
