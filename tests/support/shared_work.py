"""Several workers on one results folder, in one process: each is a generator, and the test says whose turn it is."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from cxrbench import api
from cxrbench.progress import Progress
from cxrbench.schedule.manner import Manner


def asked(encoder: str, dataset: Path, results: str, **settings: object) -> dict[str, object]:
    """What ``api.prepare`` takes: eight cells on a small data set."""
    return {
        "encoders": [encoder, "pixels"], "tasks": [f"{dataset}:classification", f"{dataset}:knn"],
        "fractions": (0.5, 1.0), "results": Path(results), "device": "cpu", "precision": "fp32", **settings,
    }  # fmt: skip


def alone(request: dict[str, object]) -> list[api.Outcome]:
    """What one process makes of it."""
    return list(api.outcomes(api.prepare(**request), Progress()))  # type: ignore[arg-type]


def worker(request: dict[str, object], manner: Manner, progress: Progress | None = None) -> Iterator[api.Outcome]:
    """A worker that has looked at the plan and has not begun."""
    job = api.prepare(**request)  # type: ignore[arg-type]
    return api.outcomes(job, progress or Progress(), manner=manner)


def by_turns(workers: Sequence[Iterator[api.Outcome]]) -> list[list[api.Outcome]]:
    """What each yields, where they take turns until all are done."""
    told: list[list[api.Outcome]] = [[] for _ in workers]
    over: set[int] = set()
    while len(over) < len(workers):
        for number, one in enumerate(workers):
            if number not in over:
                outcome = next(one, None)
                told[number].append(outcome) if outcome is not None else over.add(number)
    return told


def rows(results: str) -> dict[str, pd.DataFrame]:
    """The predictions of every cell of a results folder, by where it lies."""
    root = Path(results) / "cells"
    return {str(path.relative_to(root)): pd.read_parquet(path) for path in sorted(root.rglob("*.parquet"))}


def same_bits(first: str, second: str) -> None:
    """Raise AssertionError unless both folders hold the same cells with the same bits in every column."""
    left, right = rows(first), rows(second)
    assert left.keys() == right.keys()
    for name, frame in left.items():
        assert list(frame) == list(right[name]), name
        for column in frame:
            ours, theirs = frame[column].to_numpy(), right[name][column].to_numpy()
            same = ours.tobytes() == theirs.tobytes() if ours.dtype.kind == "f" else list(ours) == list(theirs)
            assert same, (name, column)
