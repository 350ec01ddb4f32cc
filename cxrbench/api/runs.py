"""Encoders on tasks: what a run would do, doing it, and what came of each cell."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Unpack

from cxrbench.progress import Progress

if TYPE_CHECKING:
    from cxrbench.engine.job import Job
    from cxrbench.engine.settings import Settings
    from cxrbench.predictions import Predictions
    from cxrbench.task import Cell


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation gave: a row per cell (``encoder``, ``task``, ``fraction``, ``seed``, ``metric``, ``value``).

    The first metric of each task, mean over labels; None where it is undefined or, with the reason in ``metric``, where
    the encoder cannot be asked or the cell failed. Printed as a table.
    """

    rows: tuple[dict[str, Any], ...]
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        from tabulate import tabulate

        return "\n".join([tabulate(list(self.rows), headers="keys", missingval="undefined"), *self.remarks])


@dataclass(frozen=True)
class Outcome:
    """What has just become of a cell.

    ``cell``: its ``encoder``, ``task``, ``fraction`` and ``seed``. ``headline``: of one that is computed, its first
    ``metric`` and the ``value``, None where it is undefined. ``reason``: of the others, one line.
    """

    state: Literal["computed", "failed", "not applicable"]
    cell: dict[str, Any]
    headline: dict[str, Any]
    reason: str = ""


def evaluate(
    encoders: str | Sequence[str],
    tasks: str | Sequence[str],
    *,
    progress: Progress | None = None,
    **settings: Unpack["Settings"],
) -> Evaluated:
    """Run encoders on tasks, as ``cxrbench run`` does, and say how good they are. What is finished is not done again.

    ``encoders``: specs (``imagenet``, ``./mine.py:Mine``), ``tasks``: ``DATASET[:PROTOCOL]``; several in a list, or
    separated by commas. Raises UserError.
    """
    from cxrbench.predictions import Predictions

    progress = progress or Progress()
    job = prepare(encoders, tasks, progress=progress, **settings)
    said = {_key(row): f"{row['state']}: {row['reason']}" for row in planned(job) if row["state"] == "not applicable"}
    for outcome in outcomes(job, progress):
        if outcome.reason:
            said[_key(outcome.cell)] = f"{outcome.state}: {outcome.reason}"
    rows = []
    for one in job.plan.cells:
        row = cell_facts(one.cell)
        if (reason := said.get(_key(row))) is not None:
            rows.append(row | {"metric": reason, "value": None})
        else:
            rows.append(row | headline_facts(Predictions.load(job.request.results.path(one.cell))))
    return Evaluated(tuple(rows), job.remarks)


def prepare(
    encoders: str | Sequence[str],
    tasks: str | Sequence[str],
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
    **settings: Unpack["Settings"],
) -> "Job":
    """What ``evaluate`` would do, not done: a Job with its plan. ``dry_run``: no phantom is drawn for it either.

    A preset also sets the label fractions and seeds that its paper shows, unless they are given. Raises UserError.
    """
    from cxrbench.engine.job import prepare

    if (preset := settings.get("preset")) is not None:
        from cxrbench.tasks.presets.recipes import run_settings

        fractions, seeds = run_settings(preset)
        settings["fractions"] = settings.get("fractions") or fractions
        settings["seeds"] = settings.get("seeds") or seeds
    return prepare(encoders, tasks, dry_run=dry_run, progress=progress or Progress(), **settings)


def planned(job: "Job") -> list[dict[str, Any]]:
    """A row per cell in the order of execution: ``encoder``, ``task``, ``fraction``, ``seed``, ``state``, ``reason``.

    States: done, missing, stale, damaged, not applicable, blocked.
    """
    return [{**cell_facts(one.cell), "state": one.state, "reason": one.reason} for one in job.plan.cells]


def outcomes(job: "Job", progress: Progress, *, fail_fast: bool = False) -> Iterator[Outcome]:
    """Compute what is missing or stale, cell by cell; each is saved before it is yielded.

    ``fail_fast``: end with the first that fails. Raises UserError for what keeps all of them from being computed.
    """
    from cxrbench.engine.execute import Failed, Finished

    for one in job.execute(progress, fail_fast=fail_fast):
        cell = cell_facts(one.planned.cell)
        if isinstance(one, Finished):
            yield Outcome("computed", cell, headline_facts(one.predictions))
        else:
            yield Outcome("failed" if isinstance(one, Failed) else "not applicable", cell, {}, one.reason)


def cell_facts(cell: "Cell") -> dict[str, Any]:
    """A cell's coordinates as a row."""
    return {"encoder": cell.encoder, "task": cell.task, "fraction": cell.fraction, "seed": cell.seed}


def headline_facts(predictions: "Predictions") -> dict[str, Any]:
    """The first metric of a cell as a row: its name and its value, None where it is undefined."""
    from cxrbench.metrics.kinds import headline

    metric, value = headline(predictions)
    return {"metric": metric, "value": None if math.isnan(value) else round(value, 4)}


def _key(row: dict[str, Any]) -> tuple[str, str, float, int]:
    """What tells a cell from the others of its run."""
    return row["encoder"], row["task"], row["fraction"], row["seed"]
