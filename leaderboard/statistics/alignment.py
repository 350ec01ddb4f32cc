"""One test set, many encoders: predictions brought into one order, so that every comparison is paired."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrbench.errors import UserError
from cxrbench.leaderboard.statistics.in_folds import FOLD
from cxrbench.predictions import Kind, Predictions

Array = NDArray[np.float64]
Ids = NDArray[np.object_]
OF_IMAGES = ("image_id", "patient_id", "split")
"""Columns that say which rows are compared: the same for all cells of a test set."""


class AlignedTask(NamedTuple):
    """A column of the board. Synthetic data sort, and stand, apart."""

    synthetic: bool
    dataset: str
    protocol: str
    fraction: float

    @property
    def title(self) -> str:
        """``DATASET:PROTOCOL``; the data set alone where protocols are compared, and ``protocol`` is empty."""
        return f"{self.dataset}:{self.protocol}" if self.protocol else self.dataset


@dataclass(frozen=True)
class TestFacts:
    """What a table must know of a test set beside what was measured on it: no row of it."""

    __test__ = False  # Not a test, whatever pytest thinks of the name.

    task: AlignedTask
    labels: tuple[str, ...]
    kind: Kind
    groups: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class TestSet(TestFacts):
    """What all encoders of one task are measured on.

    ``rows``: for each encoder and training seed (``seeds``) its test rows [n], all in one order; ``targets``: [n,
    labels], NaN where unknown; ``patients``: [n], image ids where the dataset knows no patients. ``key`` identifies the
    images: the resamples derive from it.
    """

    key: str
    patients: NDArray[np.str_]
    targets: Array
    rows: Mapping[str, tuple[pd.DataFrame, ...]]
    seeds: Mapping[str, tuple[int, ...]]

    @cached_property
    def patient_codes(self) -> NDArray[np.int64]:
        """A whole number per patient [n]: counted faster than names are."""
        return np.unique(self.patients, return_inverse=True)[1]

    @property
    def folded(self) -> bool:
        """Whether the rows of any cell were scored by several models, each on its fold of a cross-validation."""
        return any(FOLD in rows for seeds in self.rows.values() for rows in seeds)

    def patients_of(self, rows: NDArray[np.bool_]) -> int:
        """How many patients have one of these rows [n]."""
        return int(np.count_nonzero(np.bincount(self.patient_codes[rows])))

    @property
    def patient_count(self) -> int:
        """All patients."""
        return int(self.patient_codes.max()) + 1

    def scores(self, encoder: str, label: str) -> Array:
        """Classification: an encoder's scores [seeds, n] of a label."""
        return np.stack([rows[f"score:{label}"].to_numpy(np.float64) for rows in self.rows[encoder]])


def by_task(predictions: Sequence[Predictions]) -> dict[AlignedTask, list[Predictions]]:
    """Predictions of each dataset, protocol and label fraction, in a fixed order."""
    tasks: dict[AlignedTask, list[Predictions]] = defaultdict(list)
    for one in predictions:
        cell = one.cell
        tasks[AlignedTask(one.synthetic, cell["dataset"], cell["protocol"], float(cell["fraction"]))].append(one)
    return {task: sorted(tasks[task], key=_encoder_and_seed) for task in sorted(tasks)}


def align(task: AlignedTask, predictions: Sequence[Predictions]) -> TestSet:
    """Bring the test rows of one task into one order, on the images that every encoder has.

    Raises UserError if the predictions cannot be compared: other labels, other targets, or two results for one seed.
    """
    first = predictions[0]
    frames = [one.test_rows() for one in predictions]
    ids = [frame["image_id"].to_numpy() for frame in frames]
    shared = _shared(ids)
    if len(shared) == 0:
        who = ", ".join(dict.fromkeys(str(one.cell["encoder"]) for one in predictions))
        raise UserError(f"{task.title}: no test image is common to {who}; run them again on the same images")
    frames = [_chosen(frame, of, shared) for frame, of in zip(frames, ids, strict=True)]
    targets = first.targets(frames[0])
    aligned: dict[str, list[pd.DataFrame]] = defaultdict(list)
    seeds: dict[str, list[int]] = defaultdict(list)
    for one, rows in zip(predictions, frames, strict=True):
        encoder, seed = _encoder_and_seed(one)
        if (one.labels, one.kind) != (first.labels, first.kind) or not np.array_equal(
            one.targets(rows), targets, equal_nan=True
        ):
            both = f"{encoder} and {first.cell['encoder']}"
            raise UserError(f"{task.title}: {both} were tested on different labels; run them again on the same data")
        if seed in seeds[encoder]:
            both = [each.file for each in predictions if _encoder_and_seed(each) == (encoder, seed) and each.file]
            where = f": {' and '.join(map(str, both))}" if both else ""
            raise UserError(f"{task.title}: two results of {encoder} with seed {seed}{where}; delete the stale one")
        seeds[encoder].append(seed)
        aligned[encoder].append(rows)
    images = shared.astype(str)
    patients = _patients(frames[0], images)
    return TestSet(
        task=task,
        labels=first.labels,
        kind=first.kind,
        groups={"macro": first.labels, **first.groups},
        key=hashlib.sha256("\n".join((task.dataset, *shared)).encode()).hexdigest(),
        patients=patients,
        targets=targets,
        rows={encoder: tuple(each) for encoder, each in aligned.items()},
        seeds={encoder: tuple(each) for encoder, each in seeds.items()},
        notes=_notes(predictions, ids, len(shared), known_patients=not np.array_equal(patients, images)),
    )


def _shared(ids: Sequence[Ids]) -> Ids:
    """The images that all have, in order; each of ``ids`` is in order. Most often all are the same."""
    others = [of for of in ids[1:] if not np.array_equal(of, ids[0])]
    return np.array(sorted({*ids[0]}.intersection(*others)), dtype=object) if others else ids[0]


def _chosen(rows: pd.DataFrame, ids: Ids, shared: Ids) -> pd.DataFrame:
    """The rows, which are in the order of their ids, of the images that all have."""
    if len(ids) == len(shared):
        return rows
    return rows.loc[rows["image_id"].isin(shared.tolist())].reset_index(drop=True)


def _encoder_and_seed(one: Predictions) -> tuple[str, int]:
    return str(one.cell["encoder"]), int(one.cell["seed"])


def _patients(rows: pd.DataFrame, images: NDArray[np.str_]) -> NDArray[np.str_]:
    """A patient for each row [n]; where none is known, the image itself."""
    known = np.asarray(rows["patient_id"].fillna("").astype(str), dtype=np.str_)
    return np.where(known != "", known, images)


def _notes(
    predictions: Sequence[Predictions], ids: Sequence[Ids], shared: int, *, known_patients: bool
) -> tuple[str, ...]:
    """What a reader must be told of this test set, each fact once. ``ids``: of the images that each has."""
    notes = [str(note) for one in predictions for note in (*one.dataset.get("notes", ()), *one.notes)]
    for one in predictions:
        notes += [f"{one.cell['encoder']}: {assumed}" for assumed in one.encoder.get("assumed", ())]
        if one.dataset.get("dropped"):
            notes.append(f"{one.dataset['dropped']} unreadable images were dropped (training and validation included)")
    if not known_patients:
        notes.append("no patient identifiers: every image counts as a patient of its own")
    if any(len(of) > shared for of in ids):
        everything = len(set().union(*ids))
        lacking = {
            str(one.cell["encoder"]): everything - len(of)
            for one, of in zip(predictions, ids, strict=True)
            if len(of) < everything
        }
        who = ", ".join(f"{encoder} lacks {count}" for encoder, count in sorted(lacking.items()))
        notes.append(f"compared on the {shared:,} test images that all have ({who} of {everything:,})")
    return tuple(dict.fromkeys(notes))
