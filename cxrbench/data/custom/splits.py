"""The split of each row of a user's CSV: from its split column, or by patient."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.custom.sidecar import Sidecar
from cxrbench.data.splits import SEED, by_patient, shared_patients, stratified
from cxrbench.data.tables import Table
from cxrbench.errors import UserError
from cxrbench.files.names import plain, some

FRACTIONS = {"train": 0.7, "val": 0.1, "test": 0.2}
TO_VALIDATION = {"train": 7, "val": 1}
SPLIT_NAMES = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validate": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
BINS = 4
"""Groups of equal size that a number to be predicted is divided into, so that splits can have equal shares of each."""


def find_splits(
    path: Path,
    table: Table,
    columns: Mapping[str, str],
    patients: Sequence[str],
    strata: NDArray[np.bool_] | None,
    sidecar: Sidecar,
) -> tuple[list[str], list[str]]:
    """Split of each row, and notes. ``strata`` [rows, K]: what each split shall have its share of, where it is dealt by
    ``split_seed``; None where the rows say nothing but what they show, and all of them are to be trained on.

    Raises UserError for a split of another name, without training or test rows, and for a patient in two splits.
    """
    seed, toml = sidecar.split_seed, path.with_suffix(".toml").name
    if "split" not in columns:
        if strata is None:
            return ["train"] * len(patients), ["Nothing to test by, so every image is one to train on (pretraining)."]
        if seed is None:
            note = f"No split column: 70/10/20 by patient, seed {SEED} (stratified: split_seed = NUMBER in {toml})."
            return by_patient(patients, FRACTIONS).tolist(), [note]
        note = f"No split column: 70/10/20 by patient, stratified, seed {seed}."
        return stratified(patients, FRACTIONS, strata, seed).tolist(), [note]
    splits = _named(path, table[columns["split"]], columns["split"], patients, trained_on_alone=strata is None)
    if "val" in splits or strata is None:
        return splits, [] if seed is None else [
            f"split_seed in {toml} is not used: column {columns['split']} says all."
        ]
    train = np.flatnonzero(np.array(splits) == "train")
    of = [patients[row] for row in train.tolist()]
    dealt = by_patient(of, TO_VALIDATION) if seed is None else stratified(of, TO_VALIDATION, strata[train], seed)
    for row, split in zip(train.tolist(), dealt, strict=True):
        splits[row] = str(split)
    how = "by patient" if seed is None else f"by patient, stratified, seed {seed}"
    return splits, [f"No validation rows: an eighth of the training rows, {how}, became validation."]


def strata_of(
    targets: NDArray[np.float32], numbers: NDArray[np.float32], masked: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """What splits are stratified by [rows, K]: positives of each label, ``BINS`` of each number, and having a mask."""
    binned = [np.zeros((len(numbers), 0), bool)]
    for column in numbers.T:
        known = ~np.isnan(column)
        edges = np.unique(np.quantile(column[known], np.arange(1, BINS) / BINS))
        group = np.searchsorted(edges, column, side="right")
        binned.append((group[:, None] == np.arange(len(edges) + 1)) & known[:, None])
    return np.concatenate([targets == 1, *binned, masked[:, None]], axis=1)


def _named(
    path: Path, cells: Sequence[str], column: str, patients: Sequence[str], *, trained_on_alone: bool
) -> list[str]:
    splits = [SPLIT_NAMES.get(cell.lower(), "") for cell in cells]
    if "" in splits:
        row = splits.index("")
        raise UserError(f"{path} row {row + 2} has split {plain(cells[row])!r}; use train, val or test")
    wanted = ("train",) if trained_on_alone else ("train", "test")
    if missing := [name for name in wanted if name not in splits]:
        raise UserError(f"{path} has no {missing[0]} rows in column {column}; add some or remove the column")
    if shared := shared_patients(patients, splits):
        raise UserError(
            f"{path} puts {len(shared):,} patient(s) in more than one split ({some(shared)}): test results would leak; "
            f"mend column {column}, or remove it to split by patient"
        )
    return splits
