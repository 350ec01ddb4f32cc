"""Five splits of the same patients for probes, none of which tests on a patient that pretraining has seen."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from cxrbench.data.decode.images import decode
from cxrbench.data.lookalikes import Gallery, looks
from cxrbench.data.manifest import Manifest
from cxrbench.data.splits import by_patient

SPLITS = 5
SIDES = {"pretraining": 60, "held_out": 40}
HELD_OUT = {"test": 50, "val": 25, "train": 25}
"""What a split makes of the patients that pretraining has not seen."""
OTHERS = "train"
"""What it makes of all the others."""


def sides(patients: Sequence[str]) -> dict[str, str]:
    """``pretraining`` or ``held_out`` for each patient, given with repetitions, a row each: once and for all splits."""
    return dict(zip(patients, by_patient(patients, SIDES, seed=0).tolist(), strict=True))


def split_of(patients: Sequence[str], side: Mapping[str, str], number: int) -> dict[str, str]:
    """Train, val or test of each patient in split ``number`` (from 0)."""
    held_out = [patient for patient in patients if side[patient] == "held_out"]
    dealt = by_patient(held_out, HELD_OUT, seed=1 + number).tolist()
    return dict.fromkeys(patients, OTHERS) | dict(zip(held_out, dealt, strict=True))


def pretraining_split(patients: Sequence[str], side: Mapping[str, str]) -> dict[str, str]:
    """What pretraining is told: its own patients are train, half of the others val (or val is cut from its own)."""
    held_out = [patient for patient in patients if side[patient] == "held_out"]
    dealt = by_patient(held_out, {"test": 1, "val": 1}, seed=0).tolist()
    return dict.fromkeys(patients, "train") | dict(zip(held_out, dealt, strict=True))


def same_patients(copies: Manifest, originals: Manifest) -> list[str]:
    """The patient of each image of ``copies``, known by the image of ``originals`` that is the same picture.

    Where none or several patients have one, it is ``unknown:IMAGE``.
    """
    gallery = Gallery(len(copies) + len(originals))
    for row, path in enumerate([*copies.paths(), *originals.paths()]):
        gallery.put(row, looks(decode(path)))
    whose: dict[int, set[str]] = {row: set() for row in range(len(copies))}
    ids = originals.images["patient_id"].tolist()
    for group in gallery.groups():
        found = {ids[row - len(copies)] for row in group if row >= len(copies)}
        for row in group:
            if row < len(copies):
                whose[row] = found
    names = copies.images["image_id"]
    return [whose[row].pop() if len(whose[row]) == 1 else f"unknown:{name}" for row, name in enumerate(names)]


def write_dataset(
    folder: Path, name: str, manifest: Manifest, patients: Sequence[str], split: Mapping[str, str]
) -> Path:
    """``folder/NAME/labels.csv``: the same images, where they are, with these patients and this split of them."""
    images = manifest.images
    path = folder / name / "labels.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    classes = manifest.kind == "multiclass"
    said = {"name": name, "lineage": list(manifest.lineage), "source": manifest.source, "licence": manifest.licence}
    said |= {"label": "label"} if classes else {"labels": list(manifest.labels)}
    path.with_suffix(".toml").write_text(  # texts and lists of texts are the same in JSON and TOML
        "".join(f"{key} = {json.dumps(value)}\n" for key, value in said.items())
    )
    labels = images[list(manifest.labels)]
    cells = (
        [[label] for label in labels.columns[labels.to_numpy().argmax(axis=1)]]
        if classes
        else [["" if pd.isna(cell) else f"{cell:.0f}" for cell in row] for row in labels.to_numpy()]
    )
    with open(path, "w", newline="") as handle:
        rows = csv.writer(handle)
        rows.writerow(["image", "patient", "split", "view", *(["label"] if classes else manifest.labels)])
        for place, patient, view, row in zip(manifest.paths(), patients, images["view"], cells, strict=True):
            rows.writerow([place.absolute(), patient, split[patient], view, *row])
    return path
