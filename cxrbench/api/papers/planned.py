"""What a paper's table would run here: its runs as jobs, and one line for whatever cannot be run."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cxrbench.api.papers.one_run import NO_ENCODER, ON_PHANTOM, AskedTable, PlannedRun, planned_run, warming_up
from cxrbench.api.papers.places import published_places
from cxrbench.api.papers.typed import data_there, find_table, own_specs, refuse_wrong
from cxrbench.errors import UserError
from cxrbench.papers.paper import Paper, PaperTable, Statistic
from cxrbench.papers.runs import table_runs
from cxrbench.progress import Progress

if TYPE_CHECKING:
    from cxrbench.api.runs import Outcome


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

    def refuse_statistic(self, statistic: Statistic | None) -> None:
        """Raise UserError for a statistic that the runs as they are asked for cannot give."""
        settings = [one.settings for one in self.runs]
        if statistic == "folds" and not any("folds" in one for one in settings):
            raise UserError("--statistic folds: nothing is cross-validated: add --folds 5, or choose another")
        if statistic == "seeds" and not any(one.get("seeds", 1) > 1 for one in settings):
            raise UserError("--statistic seeds: one training seed has no SD: add --seeds 3, or choose another")

    def why_not(self) -> list[str]:
        """A line for each reason why encoders, or tasks, are not run: who, and why."""
        lines: dict[str, list[str]] = {}
        for one in self.runs:
            alone = one.reason == NO_ENCODER  # then each encoder's own reason says it
            if one.reason and not alone:
                lines.setdefault(one.reason, []).append(one.run.task)
            for name, reason in one.missing.items():
                known = name in one.specs or not one.reason or alone or self.paper.encoders[name].why
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
    asked = AskedTable(
        found, table, own, variant, settings, data_there(settings.get("data")),
        published_places(found.encoders.values()), dry_run,
    )  # fmt: skip
    runs = [planned_run(asked, run, progress) for run in table_runs(table)]
    lines = [f"{name} is {spec}, as you gave it" for name, spec in own.items()]
    if any("epochs" in one.settings for one in runs):
        lines.append(f"shortened: --epochs {settings['epochs']} is not the paper's protocol")
        lines += warming_up(runs)
    for name in ("epochs", "seeds"):
        if name in settings and not any(name in one.settings for one in runs):
            lines.append(f"--{name} {settings[name]}: nothing that this table trains reads it")
    seeds = {run.settings["seeds"] for run in table_runs(table) if "seeds" in run.settings}
    if "seeds" in settings and seeds - {settings["seeds"]}:
        lines.append(f"--seeds {settings['seeds']}: the paper has {max(seeds)}")
    lines += _stand_ins(found, own, runs)
    if table.baseline:
        lines.append(_baseline(table, runs))
    if any(one.synthetic and "budget" in one.settings for one in runs):
        lines.append(f"phantom: one labelled study stands for {ON_PHANTOM} of the paper's")
    remarks = [line for one in runs if one.job is not None for line in one.job.remarks]
    return PlannedTable(found, table, tuple(runs), tuple(dict.fromkeys([*lines, *remarks])))


def _baseline(table: PaperTable, runs: Sequence[PlannedRun]) -> str:
    """Whom a table's marks are against here."""
    specs = sorted({one.specs[table.baseline] for one in runs if table.baseline in one.specs})
    stands = f", for which {table.phantom_baseline} stands on phantom images" if table.phantom_baseline in specs else ""
    given = "" if stands or not specs else f" ({', '.join(specs)})"
    return f"the baseline is {table.baseline}{stands or given}" + ("" if specs else ": without it nothing is tested")


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
