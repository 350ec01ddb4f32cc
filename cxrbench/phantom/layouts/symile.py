"""Phantom admissions as the Symile-MIMIC download: arrays of images, ECGs and laboratory values for each split."""

import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from PIL import Image

from cxrbench.data.datasets.symile import LABS
from cxrbench.data.decode.arrays import IMAGENET_MEAN, IMAGENET_STD
from cxrbench.phantom.cases import Case
from cxrbench.phantom.ecg import SAMPLES, ecg, heart, scaled
from cxrbench.phantom.findings import PNEUMOTHORAX
from cxrbench.phantom.labs import labs, percentiles
from cxrbench.phantom.reports import seen
from cxrbench.phantom.study import gray, number

SIDE = 320  # of the images
# What each of 20 consecutive cases is; the official validation set is far smaller than a phantom could use.
SPLITS = ("train",) * 13 + ("val",) * 2 + ("test",) * 5


def symile_image(folder: Path, case: Case) -> NDArray[np.float64]:
    """Write one admission's image and ECG to a file of its own; returns its 50 laboratory values."""
    image, rng = case.image(), case.rng(4)
    small = gray(image.image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    left = any(e.side != "right" for e in seen(image.findings) if e.name == PNEUMOTHORAX)
    signal = scaled(ecg(heart(case.grades, left, rng), rng))
    (folder / "rows").mkdir(exist_ok=True)
    np.savez(folder / "rows" / f"{case.number}.npz", cxr=np.asarray(small), ecg=signal, ids=_ids(case))
    return labs(case.grades, rng)


def symile_tables(folder: Path, part: str, records: Sequence[NDArray[np.float64]]) -> None:
    """The arrays of each split, their tables of patients, and the mean percentiles that fill missing tests.

    Percentiles are ranks among the training patients, as in the original. Images are half precision (the original's
    are single): that halves the disk space and keeps all of 8 bits. The test file holds the queries without further
    candidates.
    """
    values = np.stack(records)
    rows_of = {s: [n for n in range(len(records)) if SPLITS[n % 20] == s] for s in ("train", "val", "test")}
    ranks = percentiles(values, values[rows_of["train"] or slice(None)])
    means = np.nan_to_num(np.nanmean(np.vstack([ranks[rows_of["train"]], np.full((1, 50), 0.5)]), axis=0), nan=0.5)
    keys = [f"{item}_percentile" for item in LABS]
    (folder / "labs_means.json").write_text(json.dumps(dict(zip(keys, means.round(6).tolist(), strict=True))) + "\n")
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    for split, rows in rows_of.items():
        place = folder / "data_npy" / split
        place.mkdir(parents=True)
        if not rows:
            continue
        images = open_memmap(place / f"cxr_{split}.npy", "w+", np.float16, (len(rows), 3, SIDE, SIDE))
        ecgs = open_memmap(place / f"ecg_{split}.npy", "w+", np.float32, (len(rows), 1, SAMPLES, 12))
        ids = np.zeros((len(rows), 2), np.int64)
        for at, row in enumerate(rows):
            with np.load(folder / "rows" / f"{row}.npz") as stored:
                images[at] = (stored["cxr"].astype(np.float32)[None] / 255 - mean) / std
                ecgs[at, 0], ids[at] = stored["ecg"], stored["ids"]
        del images, ecgs  # written out now, and not kept in memory
        made = ~np.isnan(ranks[rows])
        np.save(place / f"labs_percentiles_{split}.npy", np.where(made, ranks[rows], means).astype(np.float32))
        np.save(place / f"labs_missingness_{split}.npy", made.astype(np.int64))
        np.save(place / f"hadm_id_{split}.npy", ids[:, 0])
        if split == "test":
            np.save(place / "label_test.npy", np.ones(len(rows), np.int64))
            np.save(place / "label_hadm_id_test.npy", ids[:, 0])
        with open(folder / f"{split}.csv", "w", newline="", encoding="utf-8") as handle:
            csv.writer(handle, lineterminator="\n").writerows([["hadm_id", "subject_id"], *ids.tolist()])
    shutil.rmtree(folder / "rows")


def _ids(case: Case) -> NDArray[np.int64]:
    """Admission and patient."""
    return np.array([number(case, 20_000_000), number(case, 10_000_000)])
