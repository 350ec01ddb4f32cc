"""How long does a board take? Beside a loop over scikit-learn, another commit, and the same board drawn again.

Makes results folders of made-up predictions through the real store, and reads them as ``cxrbench leaderboard`` does:
with an empty cache, again, and with one encoder more. The loop over scikit-learn computes a few replicates of a few
encoders, and is extrapolated to all. Another commit is measured through its own interpreter (``--before``), store and
board, on the shapes that it can draw within minutes.

Run: python benchmarks/board.py [--quick] [--shapes board,cells] [--before OTHER/.venv/bin/python]
(writes benchmarks/results/board.md)
"""

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

REPLICATES, SEED, SKLEARN_IMAGES, SKLEARN_ENCODERS = 10_000, 0, 20_000, 2
PREVALENCE = (0.103, 0.025, 0.119, 0.177, 0.052, 0.056, 0.013, 0.047, 0.042, 0.021, 0.022, 0.015, 0.030, 0.010)


@dataclass(frozen=True)
class Shape:
    """A results folder: each of ``encoders`` on each of ``datasets`` with ``images`` test images, two of a patient.

    ``before``: whether a commit without a cache, which draws anew for each metric, is done with it within minutes.
    """

    encoders: int
    images: int
    datasets: int = 1
    labels: int = len(PREVALENCE)
    replicates: int = REPLICATES
    before: bool = True

    def __str__(self) -> str:
        labels = "1 label" if self.labels == 1 else f"{self.labels} labels"
        cells = f"{self.encoders} encoders x {self.images:,} images x {labels}"
        return cells if self.datasets == 1 else f"{cells} x {self.datasets} data sets"


SHAPES = {
    "board": Shape(14, 5_000),
    "cells": Shape(20, 100, 50, labels=1),
    "many": Shape(20, 100, 50, before=False),
    "large": Shape(50, 25_000, before=False),
    "quick": Shape(4, 500, 1, replicates=1_000),
}
STEPS = {"an empty cache": "", "again": "", "one encoder more": "more"}
"""Ways to draw a board, and what is done to its folder first."""


def rows(shape: Shape, encoder: int, dataset: int) -> pd.DataFrame:
    """Made-up predictions: targets belong to the data set, half of the scores' noise to the encoder."""
    of_data, of_encoder = np.random.default_rng([SEED, dataset]), np.random.default_rng([SEED, dataset, encoder])
    n, k = shape.images, shape.labels
    targets = (of_data.random((n, k)) < PREVALENCE[:k]).astype(float)
    noise = 0.7 * of_data.standard_normal((n, k)) + 0.7 * of_encoder.standard_normal((n, k))
    scores = 1 / (1 + np.exp(2.5 - (1 + 0.02 * encoder) * targets - noise))
    facts = {
        "image_id": [f"i{i:06}" for i in range(n)],
        "patient_id": [f"p{i // 2:06}" for i in range(n)],
        "split": ["test"] * n,
    }
    columns = {f"score:label {j}": scores[:, j] for j in range(k)} | {
        f"target:label {j}": targets[:, j] for j in range(k)
    }
    return pd.DataFrame(facts | columns)


def fill(folder: Path, shape: Shape, encoders: Sequence[int]) -> None:
    """Write the cells of these encoders through the code that is installed."""
    from cxrbench.predictions import Predictions

    labels = tuple(f"label {j}" for j in range(shape.labels))
    for dataset in range(shape.datasets):
        for e in encoders:
            name, data = ("random" if e == 0 else f"encoder-{e:02}"), f"data-{dataset:02}"
            cell = {
                "encoder": name, "dataset": data, "protocol": "classification", "fraction": 1.0, "seed": 0,
                "identity": f"{name} {data}",
            }  # fmt: skip
            one = Predictions(
                rows=rows(shape, e, dataset), labels=labels, kind="multilabel", groups={"macro": labels},
                synthetic=False, cell=cell, encoder={"fingerprint": name, "pretrained_on": []},
                dataset={"name": data, "lineage": [], "notes": []},
            )  # fmt: skip
            one.save(folder / "cells" / data / "classification" / name / "fraction-1-seed-0.parquet")


def measure(shape: Shape, folder: Path) -> str:
    """Draw the board, in this process; a line with wall and CPU seconds and the peak of the memory."""
    start, cpu = time.perf_counter(), time.process_time()
    try:
        from cxrbench.api import leaderboard
    except ImportError:
        text = _of_older_code(shape, folder)
    else:
        text = leaderboard(folder, replicates=shape.replicates).to_csv()
    wall, used = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return f"{wall:.1f} {used:.1f} {peak:.2f} {len(text.splitlines()) - 1}"


def _of_older_code(shape: Shape, folder: Path) -> str:
    """As commits before there was an ``api`` drew it."""
    from cxrbench.leaderboard.render import to_csv
    from cxrbench.leaderboard.tables import build
    from cxrbench.results import Results  # pyright: ignore[reportMissingImports]

    return to_csv(build(Results(folder).load_predictions(), replicates=shape.replicates))


def scikit_learn(shape: Shape) -> float:
    """CPU seconds of the loop, extrapolated from a few replicates of a few encoders on one data set."""
    from sklearn.metrics import accuracy_score, average_precision_score, brier_score_loss, f1_score, roc_auc_score

    generator, start = np.random.default_rng(SEED), time.process_time()
    frames = [rows(shape, e, 0) for e in range(min(SKLEARN_ENCODERS, shape.encoders))]
    replicates = max(2, SKLEARN_IMAGES // shape.images)
    for _ in range(replicates):
        drawn = 2 * np.repeat(generator.integers(shape.images // 2, size=shape.images // 2), 2)
        drawn[1::2] += 1
        for frame in frames:
            for j in range(shape.labels):
                score = frame[f"score:label {j}"].to_numpy()[drawn]
                target = frame[f"target:label {j}"].to_numpy()[drawn]
                if not 0 < target.sum() < len(target):
                    continue
                _ = (
                    roc_auc_score(target, score),
                    average_precision_score(target, score),
                    brier_score_loss(target, score),
                )
                _ = f1_score(target, score >= 0.5), accuracy_score(target, score >= 0.5)
                bins = np.ceil(score * 15).clip(1, 15).astype(int) - 1  # ECE, which scikit-learn lacks
                float(np.abs(np.bincount(bins, score - target, 15)).sum() / len(score))
    used = time.process_time() - start
    return used * shape.replicates / replicates * shape.encoders * shape.datasets / len(frames)


def apart(python: str, name: str, folder: Path, what: str) -> list[float]:
    """``measure`` in a process of its own, with any interpreter; or (``make``, ``more``) only fill the folder."""
    command = [python, str(Path(__file__).resolve()), "--only", name, "--folder", str(folder), "--do", what]
    environment = os.environ | {"CXRBENCH_CACHE": str(folder / "cache")}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return [float(word) for word in done.stdout.split()]


def compared(names: Sequence[str], before: str | None) -> Iterator[str]:
    """A table of Markdown, a row for each shape and way; ``load``: the average of the machine when it began."""
    yield "| results | how | wall s | CPU s | peak GB | load |"
    yield "|---|---|---|---|---|---|"
    for name in names:
        shape = SHAPES[name]
        load = os.getloadavg()[0]
        yield f"| {shape} | loop over scikit-learn, extrapolated | | {scikit_learn(shape):,.0f} | | {load:.1f} |"
        with tempfile.TemporaryDirectory() as folder:
            if before and shape.before:
                apart(before, name, Path(folder), "make")
                yield _line(shape, "before", before, name, Path(folder))
        with tempfile.TemporaryDirectory() as folder:
            apart(sys.executable, name, Path(folder), "make")
            for how, first in STEPS.items():
                if first:
                    apart(sys.executable, name, Path(folder), first)
                yield _line(shape, f"now, {how}", sys.executable, name, Path(folder))


def _line(shape: Shape, how: str, python: str, name: str, folder: Path) -> str:
    """Draw the board once."""
    load = os.getloadavg()[0]
    wall, cpu, peak, _ = apart(python, name, folder, "draw")
    return f"| {shape} | {how} | {wall:,.1f} | {cpu:,.1f} | {peak:.2f} | {load:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small folder; writes nothing")
    parser.add_argument("--shapes", default="board,cells,many,large")
    parser.add_argument("--before", help="the interpreter of an environment with another commit")
    parser.add_argument("--only", choices=SHAPES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--do", choices=["make", "more", "draw"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        shape = SHAPES[args.only]
        if args.do == "draw":
            print(measure(shape, args.folder))
        else:
            fill(args.folder, shape, range(shape.encoders) if args.do == "make" else [shape.encoders])
        return
    table = []
    for line in compared(["quick"] if args.quick else args.shapes.split(","), args.before):
        table.append(line)
        print(line, flush=True)
    machine = f"{platform.processor() or platform.machine()}, {len(os.sched_getaffinity(0))} cores"
    note = (
        f"Six metrics, 10,000 replicates, from the results folder to the CSV; {machine}. Where the load average before "
        "a row was not near 0 other work took its share, and CPU seconds (of all threads, user and system) say more "
        "than those on the clock. "
        f"`python benchmarks/board.py{f' --before {Path(args.before).name}' if args.before else ''}`."
    )
    text = "\n".join(["# How long a board takes", "", note, "", *table, ""])
    if not args.quick:
        (Path(__file__).parent / "results" / "board.md").write_text(text)


if __name__ == "__main__":
    main()
