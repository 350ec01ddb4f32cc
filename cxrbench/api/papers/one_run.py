"""A run of a paper's table as it would be here: its job, or one line that says why there is none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrbench.api.papers.places import not_here
from cxrbench.errors import DiskError, UserError
from cxrbench.papers.paper import Paper, PaperTable
from cxrbench.papers.runs import TableRun, run_command
from cxrbench.progress import Progress

if TYPE_CHECKING:
    from cxrbench.engine.job import Job

ON_PHANTOM = 100
"""For so many labelled studies of a paper one stands in the phantom, which has a few hundred."""
NO_ENCODER = "no encoder of it can be had here"


@dataclass(frozen=True)
class AskedTable:
    """A table and what was typed of it. ``own``: specs by the names of its encoders; ``variant``: of the preset;
    ``settings``: of ``cxrbench run``; ``data``: the folder, None for the phantom; ``places``: see ``published_places``;
    ``dry_run``: no phantom is drawn.
    """

    paper: Paper
    table: PaperTable
    own: Mapping[str, str]
    variant: str
    settings: Mapping[str, Any]
    data: Path | None
    places: Mapping[str, str]
    dry_run: bool


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


def planned_run(asked: AskedTable, run: TableRun, progress: Progress | None = None) -> PlannedRun:
    """A run as it would be here. What cannot be planned is its ``reason``, not an error; a full disk is an error."""
    from cxrbench.api.runs import prepare

    synthetic = all(is_synthetic(name, asked.data) for name in run.trained_on)
    specs, absent = _encoders(asked, run, synthetic=synthetic)
    said = _settings(asked, run, synthetic=synthetic)
    planned = PlannedRun(run, synthetic, specs, absent, said)
    if not specs:
        return _refused(planned, NO_ENCODER)
    try:
        job = prepare(
            list(dict.fromkeys(specs.values())), run.task, dry_run=asked.dry_run, progress=progress, **said
        )  # fmt: skip
    except DiskError:
        raise
    except UserError as error:
        return _refused(planned, str(error))
    if job.plan.cells and all(one.state == "blocked" and one.task is None for one in job.plan.cells):
        reasons = {one.reason for one in job.plan.cells}
        if len(reasons) == 1 and _without_data(run, asked.data):
            return _refused(planned, reasons.pop())
    return replace(planned, job=job)


def _encoders(asked: AskedTable, run: TableRun, *, synthetic: bool) -> tuple[dict[str, str], dict[str, str]]:
    """By name the specs of those that can be had here, and why the others cannot."""
    known, table = asked.paper.encoders, asked.table
    names = [*run.encoders, *([table.baseline] if table.baseline else [])]
    specs = {name: asked.own.get(name) or known[name].on(synthetic=synthetic) for name in names}
    if synthetic and table.phantom_baseline and table.baseline not in asked.own:
        specs[table.baseline] = table.phantom_baseline
    absent = {name: known[name].absence for name, spec in specs.items() if not spec} | not_here(specs, asked.places)
    return {name: spec for name, spec in specs.items() if name not in absent}, absent


def _settings(asked: AskedTable, run: TableRun, *, synthetic: bool) -> dict[str, Any]:
    """Of ``cxrbench run``: the table's, and what was typed that its protocol reads."""
    settings = dict(run.settings)
    if asked.variant and "preset" in settings:
        settings["preset"] = f"{settings['preset'].partition(':')[0]}:{asked.variant}"
    if synthetic and "budget" in settings:
        settings["budget"] = tuple(max(count // ON_PHANTOM, 1) for count in settings["budget"])
    fractions = run.fractions if run.fractions != (1.0,) or "preset" in settings else None
    return {**settings, **({"fractions": fractions} if fractions else {}), **_read(run, asked.settings)}


def is_synthetic(dataset: str, data: Path | None) -> bool:
    """Whether what is read of a dataset is the phantom."""
    from cxrbench.engine.registry import PHANTOM_MARK

    return data is None or (data / dataset / PHANTOM_MARK).is_file()


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
    return replace(planned, reason=" ".join(reason.split()))


def warming_up(runs: Sequence[PlannedRun]) -> list[str]:
    """A line on what is shortened to within its warm-up: then label fractions may even give the same figures."""
    from cxrbench.tasks.presets.recipes import preset_for

    within: list[str] = []
    for one in runs:
        if one.job is None or not {"epochs", "preset"} <= one.settings.keys():
            continue
        name, (dataset, protocol) = one.settings["preset"], one.run.task.split(":")
        recipe = preset_for(name, protocol, dataset)
        recipe = preset_for(name, recipe["uses"], dataset) if "uses" in recipe else recipe
        within += [one.run.task] if recipe.get("warmup_epochs", 0) >= one.settings["epochs"] else []
    return (
        [f"{', '.join(dict.fromkeys(within))}: so few epochs end within the warm-up: little is learnt"]
        if within
        else []
    )
