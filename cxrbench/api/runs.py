"""Encoders on tasks: what a run would do, doing it, and what came of each cell."""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from cxrbench.api.given import separated
from cxrbench.api.saved import SavedResults
from cxrbench.api.workers import check_executor, computing
from cxrbench.arguments import check_type
from cxrbench.files.folders import data_folder
from cxrbench.plugins.entry_points import LOGGERS, only_point
from cxrbench.progress import Progress
from cxrbench.schedule.manner import Manner

if TYPE_CHECKING:
    import pandas as pd

    from cxrbench.api.given import EncoderLike, TaskLike
    from cxrbench.engine.job import Job
    from cxrbench.engine.settings import Settings
    from cxrbench.predictions import Predictions
    from cxrbench.task import Cell


@dataclass(frozen=True)
class RunResults(SavedResults):
    """What came of a run: a row per cell, and where the predictions are. Printed as a table.

    ``rows``: ``encoder``, ``task``, ``fraction``, ``seed``, and the first ``metric`` of the task with its ``value``,
    mean over labels; None where it is undefined or, with the reason in ``metric``, where the encoder cannot be asked or
    the cell failed. ``remarks``: what does not apply, and what was assumed.
    """

    rows: tuple[dict[str, Any], ...]
    remarks: tuple[str, ...] = ()

    def to_pandas(self) -> "pd.DataFrame":
        """The rows."""
        import pandas as pd

        return pd.DataFrame(list(self.rows))

    def has(self, cell: Mapping[str, Any]) -> bool:
        """Whether a saved cell was asked for in this run."""
        mine = {_key(row) for row in self.rows}
        return _key({**cell, "task": f"{cell['dataset']}:{cell['protocol']}"}) in mine

    def __str__(self) -> str:
        return "\n".join([self._table("simple"), *self.remarks])

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return "\n".join([self._table("html"), *(f"<p>{escape(remark)}</p>" for remark in self.remarks)])

    def _table(self, form: str) -> str:
        from tabulate import tabulate

        return tabulate(list(self.rows), headers="keys", missingval="undefined", tablefmt=form)


@dataclass(frozen=True)
class Outcome:
    """What has just become of a cell.

    ``cell``: its ``encoder``, ``task``, ``fraction`` and ``seed``. ``headline``: of one that is computed, its first
    ``metric`` and the ``value``, None where it is undefined. ``reason``: of one that failed or is not applicable, one
    line. ``done elsewhere``: another worker has computed it meanwhile.
    """

    state: Literal["computed", "failed", "not applicable", "done elsewhere"]
    cell: dict[str, Any]
    headline: dict[str, Any]
    reason: str = ""


def run(
    encoders: "str | EncoderLike | Sequence[EncoderLike]",
    tasks: "str | TaskLike | Sequence[TaskLike]",
    *,
    progress: Progress | None = None,
    **settings: Unpack["Settings"],
) -> RunResults:
    """Run encoders on tasks, as ``cxrbench run`` does, and say how good they are. What is finished is not done again.

    ``encoders``: specs (``imagenet``, ``./mine.py:Mine``), modules, or pairs of a name and a module. An ``nn.Module``
    takes images [B, channels, size, size] and gives ``Features`` or a tensor [B, D]; how it wants its images is said by
    ``module.preprocess = cxrbench.Preprocess(...)``, else ImageNet's way is assumed, with a warning. It is called by
    its class and known by its tensors and the source of its class; it is copied, and stays as it is.

    ``tasks``: ``DATASET[:PROTOCOL]``, the path of a CSV, a DataFrame with the columns of such a CSV (``image``,
    ``patient``, ``split``, labels), or a pair of ``NAME[:PROTOCOL]`` and a DataFrame. Names may also stand in one text,
    separated by commas.

    ``settings``: as the options of ``cxrbench run``, see ``Settings``; ``train`` may list DataFrames, too. A cell that
    fails is a row with its reason. Warns of what was assumed. Raises UserError.

    Example::

        results = cxrbench.run(["imagenet", my_module], ["siim", ("clinic:classification", my_dataframe)], seeds=3)
        print(results.leaderboard(baseline="imagenet"))
    """
    from cxrbench.engine.job import assumptions
    from cxrbench.predictions import Predictions

    check_type("progress", progress, Progress | None)
    progress = progress or Progress()
    job = prepare(encoders, tasks, progress=progress, **settings)
    for assumed in assumptions(job.plan):
        warnings.warn(assumed, stacklevel=2)
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
    return RunResults(job.request.results.root, tuple(rows), job.remarks)


def prepare(
    encoders: "str | EncoderLike | Sequence[EncoderLike]",
    tasks: "str | TaskLike | Sequence[TaskLike]",
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
    **settings: Unpack["Settings"],
) -> "Job":
    """What ``run`` would do, not done: a Job with its plan. ``dry_run``: no phantom is drawn for it either.

    A preset also sets the label fractions and seeds that its paper shows, unless they are given. Raises UserError.
    """
    from cxrbench.engine.job import prepare

    if (preset := settings.get("preset")) is not None:
        from cxrbench.tasks.presets.recipes import run_settings

        fractions, seeds = run_settings(preset)
        if not settings.get("budget"):
            settings["fractions"] = settings.get("fractions") or fractions
        settings["seeds"] = settings.get("seeds") or seeds
    given = separated(encoders, tasks, settings.get("train"))
    if isinstance(log := settings.get("log"), str):
        only_point(LOGGERS, log, "logger")  # before data are read or drawn
    if settings.get("executor") is not None:
        check_executor(settings, [*given.objects.encoders, *given.objects.datasets])
    if given.train is not None:
        settings["train"] = given.train
    if settings.get("data") is None:
        settings["data"] = data_folder(None)
    return prepare(
        given.encoders, given.tasks, dry_run=dry_run, progress=progress or Progress(), objects=given.objects, **settings
    )


def read_run_file(path: Path | str) -> dict[str, Any]:
    """What a run file (TOML) says, for ``run``: ``encoders``, ``tasks``, and settings by name.

    Paths in it are relative to the current folder, as if they were typed. Raises UserError for a key that is none, with
    the nearest, and for a value of the wrong type::

        results = cxrbench.run(**cxrbench.read_run_file("board.toml"))
    """
    from cxrbench.engine.asked.requests import read_run_file

    check_type("path", path, str | Path)
    return read_run_file(Path(path).expanduser())


def planned(job: "Job") -> list[dict[str, Any]]:
    """A row per cell in the order of execution: ``encoder``, ``task``, ``fraction``, ``seed``, ``state``, ``reason``.

    States: done, missing, stale, damaged, not applicable, blocked.
    """
    return [{**cell_facts(one.cell), "state": one.state, "reason": one.reason} for one in job.plan.cells]


def outcomes(
    job: "Job", progress: Progress, *, fail_fast: bool = False, manner: Manner | None = None
) -> Iterator[Outcome]:
    """Compute what is missing or stale, cell by cell; each is saved before it is yielded.

    ``fail_fast``: end with the first that fails. ``manner``: as one of several workers, which share the cells. Raises
    UserError for what keeps all of them from being computed.
    """
    from cxrbench.engine.execute import Failed, Finished, Inapplicable, dropped_note

    logger = None
    if job.asked.settings.get("log"):
        from cxrbench.loggers.contract import open_logger

        settings = {"encoders": job.asked.encoders, "tasks": job.asked.tasks, **job.asked.settings}
        logger = open_logger(job.asked.settings["log"], f"run {job.asked.sha256[:12]}", settings)
    try:
        for step, one in enumerate(computing(job, progress, fail_fast=fail_fast, manner=manner), 1):
            cell = cell_facts(one.planned.cell)
            if isinstance(one, Finished):
                found = headline_facts(one.predictions)
                if dropped := one.predictions.dataset.get("dropped"):
                    progress.note(dropped_note(one.predictions.dataset["name"], dropped))
                if logger is not None:
                    logger.log({_called(cell, found["metric"]): found["value"]}, step)
                yield Outcome("computed", cell, found)
            elif isinstance(one, Failed | Inapplicable):
                yield Outcome("failed" if isinstance(one, Failed) else "not applicable", cell, {}, one.reason)
            else:
                yield Outcome("done elsewhere", cell, {})
    finally:
        if logger is not None:
            logger.end()


def cell_facts(cell: "Cell") -> dict[str, Any]:
    """A cell's coordinates as a row."""
    return {"encoder": cell.encoder, "task": cell.task, "fraction": cell.fraction, "seed": cell.seed}


def headline_facts(predictions: "Predictions") -> dict[str, Any]:
    """The first metric of a cell as a row: its name and its value, None where it is undefined."""
    from cxrbench.metrics.kinds import headline

    metric, value = headline(predictions)
    return {"metric": metric, "value": None if math.isnan(value) else round(value, 4)}


def _called(cell: Mapping[str, Any], metric: str) -> str:
    """What a logger calls a cell's number."""
    return f"{cell['task']}/{cell['encoder']}/{metric}/fraction {cell['fraction']:g} seed {cell['seed']}"


def _key(row: dict[str, Any]) -> tuple[str, str, float, int]:
    """What tells a cell from the others of its run."""
    return row["encoder"], row["task"], row["fraction"], row["seed"]
