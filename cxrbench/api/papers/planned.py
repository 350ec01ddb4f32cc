"""What a paper's table would run here: its runs as jobs, and one line for whatever cannot be run."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrbench.api.papers.places import not_here, published_places
from cxrbench.api.papers.typed import data_there, find_table, own_specs, refuse_wrong
from cxrbench.errors import DiskError, UserError
from cxrbench.papers.paper import Paper, PaperTable
from cxrbench.papers.runs import TableRun, run_command, table_runs
from cxrbench.progress import Progress

if TYPE_CHECKING:
    from cxrbench.api.runs import Outcome
    from cxrbench.engine.job import Job


ON_PHANTOM = 100
"""For so many labelled studies of a paper one stands in the phantom, which has a few hundred."""


@dataclass(frozen=True)
class PlannedRun:
    """A run of a table here. ``specs``: what the table's encoders are here, by their names; ``absent``: why others are
    not; ``settings``: of ``cxrbench run``; ``reason``: why there is no ``job``.
    """

    run: TableRun
    synthetic: bool
    specs: Mapping[str, str]
    absent: Mapping[str, str]
    settings: Mapping[str, Any]
    job: "Job | None" = None
    reason: str = ""

    @property
    def blocked(self) -> Mapping[str, str]:
        """By encoder why it cannot be run here, though it has a spec: no weights, no data."""
        why = {
            one.cell.encoder: one.reason for one in (self.job.plan.cells if self.job else ()) if one.state == "blocked"
        }
        return {name: why[spec] for name, spec in self.specs.items() if spec in why}

    @property
    def missing(self) -> Mapping[str, str]:
        """By encoder why it is not run here: it cannot be had, or its weights are not here."""
        return {**self.absent, **self.blocked}

    @property
    def command(self) -> str:
        """The ``cxrbench run`` that does the same; empty where there is nothing to run."""
        blocked = self.blocked
        specs = list(dict.fromkeys(spec for name, spec in self.specs.items() if name not in blocked))
        return run_command(self.run.task, specs, self.settings) if specs and self.job is not None else ""


@dataclass(frozen=True)
class PlannedTable:
    """A table and its runs here. ``lines``: what a reader must know of all of them."""

    paper: Paper
    table: PaperTable
    runs: tuple[PlannedRun, ...]
    lines: tuple[str, ...]

    def rows(self) -> list[dict[str, Any]]:
        """A row per encoder and task that can be run: label fractions, training seeds, and how many cells of which
        state.
        """
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for one in self.runs:
            names: dict[str, list[str]] = {}
            for name, spec in one.specs.items():
                names.setdefault(spec, []).append(name)
            for planned in one.job.plan.cells if one.job else ():
                cell = planned.cell
                if planned.state == "blocked":
                    continue
                row = found.setdefault(
                    (cell.encoder, cell.task),
                    {"row": ", ".join(names.get(cell.encoder, ())), "encoder": cell.encoder, "task": cell.task,
                     "fractions": [], "seeds": 0, "cells": Counter()},
                )  # fmt: skip
                row["fractions"] = sorted({*row["fractions"], cell.fraction})
                row["seeds"] = max(row["seeds"], cell.seed + 1)
                row["cells"][planned.state] += 1
        return [
            row | {"fractions": ", ".join(f"{f:g}" for f in row["fractions"]),
                   "cells": ", ".join(f"{n} {state}" for state, n in row["cells"].items())}
            for row in found.values()
        ]  # fmt: skip

    def counts(self) -> Counter[str]:
        """How many cells are in which state."""
        return Counter(planned.state for one in self.runs for planned in (one.job.plan.cells if one.job else ()))

    def commands(self) -> list[str]:
        """The ``cxrbench run`` commands that do the same."""
        return [one.command for one in self.runs if one.command]

    def why_not(self) -> list[str]:
        """A line for each reason why encoders, or tasks, are not run: who, and why."""
        lines: dict[str, list[str]] = {}
        for one in self.runs:
            if one.reason:
                lines.setdefault(one.reason, []).append(one.run.task)
            for name, reason in one.missing.items():
                known = name in one.specs or not one.reason or self.paper.encoders[name].why
                lines.setdefault(reason, []).extend([name] if known else [])
        return [f"{', '.join(dict.fromkeys(names))}: {why}" for why, names in lines.items() if names]


def plan_table(
    paper: str,
    number: str,
    *,
    encoders: Mapping[str, str] | Sequence[str] = (),
    variant: str = "",
    dry_run: bool = False,
    progress: Progress | None = None,
    **settings: Any,
) -> PlannedTable:
    """Plan a table of a paper. Nothing is trained; ``dry_run``: no phantom is drawn for it either.

    ``encoders``: specs of one's own by the names of the table's rows, or ``NAME=SPEC``. ``variant``: of the paper's
    preset, in place of the table's own. Of published encoders those are run whose files are here; nothing is
    downloaded. ``settings``: as of ``api.run``, but for what the table says; ``epochs`` and
    ``seeds`` shorten it, and that is said. What cannot be planned is a line, not an error. Raises UserError for names
    that are wrong.
    """
    found, table = find_table(paper, number)
    own = own_specs(found, encoders)
    settings = {name: value for name, value in settings.items() if value is not None}
    refuse_wrong(found, own, variant, settings)
    data = data_there(settings.get("data"))
    places = published_places(found.encoders.values())
    runs = [
        _planned(found, table, run, own, places, variant, data, settings, dry_run=dry_run, progress=progress)
        for run in table_runs(table)
    ]
    lines = [f"{name} is {spec}, as you gave it" for name, spec in own.items()]
    if any("epochs" in one.settings for one in runs):
        lines.append(f"shortened: --epochs {settings['epochs']} is not the paper's protocol")
    for name in ("epochs", "seeds"):
        if name in settings and not any(name in one.settings for one in runs):
            lines.append(f"--{name} {settings[name]}: nothing that this table trains reads it")
    asked = {run.settings["seeds"] for run in table_runs(table) if "seeds" in run.settings}
    if "seeds" in settings and asked - {settings["seeds"]}:
        lines.append(f"--seeds {settings['seeds']}: the paper has {max(asked)}")
    lines += _stand_ins(found, own, runs)
    if table.baseline and (against := {one.specs[table.baseline] for one in runs if table.baseline in one.specs}):
        lines.append(f"tested against {', '.join(sorted(against))}")
    if any(one.synthetic and "budget" in one.settings for one in runs):
        lines.append(f"phantom: one labelled study stands for {ON_PHANTOM} of the paper's")
    remarks = [line for one in runs if one.job is not None for line in one.job.remarks]
    return PlannedTable(found, table, tuple(runs), tuple(dict.fromkeys([*lines, *remarks])))


def _stand_ins(paper: Paper, own: Mapping[str, str], runs: Sequence[PlannedRun]) -> list[str]:
    """A line on what is run on phantom images in the place of a row's encoder."""
    used = {
        name: spec
        for one in runs
        for name, spec in (one.specs.items() if one.synthetic else ())
        if name in one.run.encoders and name not in own and spec == paper.encoders[name].phantom
    }
    said = ", ".join(f"{spec} for {name}" for name, spec in used.items())
    return [f"phantom: small encoders stand for the paper's ({said})"] if said else []


def is_synthetic(dataset: str, data: Path | None) -> bool:
    """Whether what is read of a dataset is the phantom."""
    from cxrbench.engine.registry import PHANTOM_MARK

    return data is None or (data / dataset / PHANTOM_MARK).is_file()


def _planned(
    paper: Paper,
    table: PaperTable,
    run: TableRun,
    own: Mapping[str, str],
    places: Mapping[str, str],
    variant: str,
    data: Path | None,
    given: Mapping[str, Any],
    *,
    dry_run: bool,
    progress: Progress | None,
) -> PlannedRun:
    from cxrbench.api.runs import prepare

    synthetic = all(is_synthetic(name, data) for name in run.trained_on)
    asked = [*run.encoders, *([table.baseline] if table.baseline else [])]
    specs = {name: own.get(name) or paper.encoders[name].on(synthetic=synthetic) for name in asked}
    if synthetic and table.phantom_baseline and table.baseline not in own:
        specs[table.baseline] = table.phantom_baseline
    absent = {name: paper.encoders[name].absence for name, spec in specs.items() if not spec} | not_here(specs, places)
    specs = {name: spec for name, spec in specs.items() if name not in absent}
    settings = dict(run.settings)
    if variant and "preset" in settings:
        settings["preset"] = f"{settings['preset'].partition(':')[0]}:{variant}"
    if synthetic and "budget" in settings:
        settings["budget"] = tuple(max(count // ON_PHANTOM, 1) for count in settings["budget"])
    fractions = run.fractions if run.fractions != (1.0,) or "preset" in settings else None
    said = {**settings, **({"fractions": fractions} if fractions else {}), **_read(run, given)}
    planned = PlannedRun(run, synthetic, specs, absent, said)
    if not specs:
        return _refused(planned, "no encoder of it can be had here")
    try:
        job = prepare(
            list(dict.fromkeys(specs.values())), run.task, dry_run=dry_run, progress=progress, **said
        )  # fmt: skip
    except DiskError:
        raise
    except UserError as error:
        return _refused(planned, str(error))
    if job.plan.cells and all(one.state == "blocked" and one.task is None for one in job.plan.cells):
        reasons = {one.reason for one in job.plan.cells}
        if len(reasons) == 1 and _without_data(run, data):
            return _refused(planned, reasons.pop())
    return PlannedRun(run, synthetic, specs, absent, said, job)


def _read(run: TableRun, given: Mapping[str, Any]) -> dict[str, Any]:
    """What was typed, without what the run's protocol has no use for: a ridge has no epochs, and no chance in it."""
    from cxrbench.engine.registry import load_task

    task = load_task(run.cells[0].protocol)
    own = "preset" in run.settings  # a preset trains, whatever the protocol does by itself
    deaf = {
        "epochs": not own and "epochs" not in task.reads,
        "seeds": not own and not any(task.seeds_matter(fraction) for fraction in run.fractions),
    }
    return {name: value for name, value in given.items() if not deaf.get(name)}


def _without_data(run: TableRun, data: Path | None) -> bool:
    """Whether a dataset that it reads has no folder."""
    from cxrbench.phantom.layouts.registry import WRITERS

    return any(name not in WRITERS if data is None else not (data / name).is_dir() for name in run.trained_on)


def _refused(planned: PlannedRun, reason: str) -> PlannedRun:
    return PlannedRun(
        planned.run, planned.synthetic, planned.specs, planned.absent, planned.settings, None, " ".join(reason.split())
    )


@dataclass(frozen=True)
class RunStep:
    """What has just become of a cell of a table's runs."""

    run: PlannedRun
    outcome: "Outcome"


def compute_table(planned: PlannedTable, progress: Progress, *, fail_fast: bool = False) -> Iterator[RunStep]:
    """Compute what is missing, run by run; each cell is saved before it is yielded. Raises UserError."""
    from cxrbench.api.runs import outcomes

    for one in planned.runs:
        blocked = {one.specs[name] for name in one.blocked}
        if one.job is None or blocked >= set(one.specs.values()):
            continue
        for outcome in outcomes(one.job, progress, fail_fast=fail_fast):
            if outcome.cell["encoder"] not in blocked:
                yield RunStep(one, outcome)
