"""``cxrbench paper``: a paper's table, with its protocol, in its shape."""

import json
import sys
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrbench import api
from cxrbench.cli.console import RunBars, bar, counting_late, table, visible_lines
from cxrbench.cli.failures import FAILED, failure_table
from cxrbench.cli.leaderboard import ReplicatesOption, write
from cxrbench.cli.options import (
    MAX_PIXELS,
    BatchSizeOption,
    CacheLimitOption,
    CacheOption,
    DataOption,
    DecodingOption,
    DeviceOption,
    DryRunOption,
    EcgTeacherOption,
    EpochsOption,
    FailFastOption,
    JsonOption,
    LabsTeacherOption,
    MaxPixelsOption,
    PrecisionOption,
    ResultsOption,
    SkipOption,
)
from cxrbench.cli.run import typed
from cxrbench.errors import UserError, chosen

if TYPE_CHECKING:
    from cxrbench.api.papers.overview import PaperOverview
    from cxrbench.api.papers.planned import PlannedTable

LIST = "list"


def paper(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="spcl, mvmae, pacx, radjepa or fane; or list.")] = LIST,
    number: Annotated[str | None, typer.Option("--table", help="Plan and run this table of it, e.g. 3.")] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(help="NAME=SPEC: your own weights for a row of the table, 'S-PCL=spcl@FILE'; repeatable."),
    ] = None,
    variant: Annotated[
        str | None, typer.Option(help="Of the paper's preset: fixed, paper, official [default: the table's own].")
    ] = None,
    data: DataOption = None,
    results: ResultsOption = Path("results"),
    epochs: EpochsOption = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Training seeds [default: the paper's].")] = None,
    folds: Annotated[int | None, typer.Option(help="Cross-validate with K >= 3 folds by patient.")] = None,
    ecg_teacher: EcgTeacherOption = None,
    labs_teacher: LabsTeacherOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    batch_size: BatchSizeOption = 64,
    workers: DecodingOption = 0,
    on_bad_image: SkipOption = "error",
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    cache: CacheOption = None,
    cache_limit: CacheLimitOption = "20GB",
    statistic: Annotated[
        str | None,
        typer.Option(help="Beside our value: run, seeds, folds or resamples (median of 500) [default: the paper's]."),
    ] = None,
    replicates: ReplicatesOption = 10_000,
    dry_run: DryRunOption = False,
    fail_fast: FailFastOption = False,
    form: Annotated[str, typer.Option("--format", help="Of a table: md, csv, json, html or latex.")] = "md",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the table to this file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """A paper's table with one command: its protocol on its data, our values beside the published ones.

    Without a data folder (--data or CXRBENCH_DATA) the phantom serves, and the table is stamped synthetic. Encoders
    that cannot be had keep their published figures, in italics. What is finished is not done again.

    Examples:

      cxrbench paper list

      cxrbench paper radjepa

      cxrbench paper radjepa --table 3 --dry-run

      cxrbench paper spcl --table 2 --encoder 'S-PCL=spcl@runs/x/encoder.safetensors' --data /data -o table2.md

      cxrbench paper fane --table 2 --epochs 1
    """
    chosen("--format", api.Form, form)
    beside: api.Statistic | None = None if statistic is None else chosen("--statistic", api.Statistic, statistic)
    if name == LIST:
        if number is not None:
            raise UserError(f"--table {number} is of one paper: cxrbench paper NAME --table {number}")
        _refuse_options(context, {"as_json"}, "paper NAME --table N")
        return _list(as_json)
    if number is None:
        overview = api.paper_overview(name, data=data)
        _refuse_options(context, {"as_json", "data"}, f"paper {name} --table N")
        return _overview(overview, as_json)
    if output is not None and not output.absolute().parent.is_dir():
        raise UserError(f"--output {output}: there is no folder {output.parent}; make it, for nothing was computed yet")
    settings: dict[str, Any] = {
        "data": data, "results": results, "epochs": epochs, "seeds": seeds, "folds": folds,
        "ecg_teacher": ecg_teacher, "labs_teacher": labs_teacher, "device": device, "precision": precision,
        "batch_size": batch_size, "workers": workers, "on_bad_image": on_bad_image, "max_pixels": max_pixels,
        "cache": cache, "cache_limit": cache_limit,
    }  # fmt: skip
    said = {option: settings[option] for option in typed(context, settings)}
    asked: dict[str, Any] = {"encoders": encoder or (), "variant": variant or "", **said}
    if dry_run:
        planned = api.plan_table(name, number, dry_run=True, **asked)
        planned.refuse_statistic(beside)
        return _plan(planned, as_json)
    failed: list[api.Outcome] = []
    with bar() as progress:
        bars = RunBars(progress)
        planned = api.plan_table(name, number, progress=bars, **asked)
        planned.refuse_statistic(beside)
        counts = planned.counts()
        done = counts["done"] + counts["not applicable"]
        cells = progress.add_task("cells", total=counts.total() - counts["blocked"], completed=done)
        reasons: dict[str, str] = {}
        for step in api.compute_table(planned, bars, fail_fast=fail_fast):
            progress.advance(cells)
            bars.done()
            if step.outcome.reason:
                reasons[api.cell_key(step.outcome.cell)] = f"{step.outcome.state}: {step.outcome.reason}"
            failed += [step.outcome] if step.outcome.state == "failed" else []
    shown = api.show_table(planned, reasons, statistic=beside, replicates=replicates, cache=cache, bar=counting_late)
    write(shown.text("json" if as_json else form), output)  # type: ignore[arg-type]
    if failed:
        print(failure_table(failed), file=sys.stderr)
        raise typer.Exit(FAILED)


def _refuse_options(context: typer.Context, read: Collection[str], command: str) -> None:
    """Raise UserError for an option that was typed and that only a table reads: it would be ignored in silence."""
    named = {one.name: one.opts[0] for one in context.command.params if one.name and one.param_type_name == "option"}
    if given := [named[name] for name in typed(context, named) if name not in read]:
        raise UserError(f"{' and '.join(given)}: read for a table alone: cxrbench {command}")


def _list(as_json: bool) -> None:
    papers = api.list_papers()
    if as_json:
        print(json.dumps([{"name": one.name, "title": one.title, "source": one.source, "preset": one.preset,
                           "tables": [t.number for t in one.tables]} for one in papers], indent=1))  # fmt: skip
        return
    rows = [
        {"paper": one.name, "title": one.title, "source": one.source, "tables": ", ".join(t.number for t in one.tables)}
        for one in papers
    ]
    print(visible_lines(table(rows)))
    print("`cxrbench paper NAME` says what each needs; `cxrbench paper NAME --table N` runs one.")


def _overview(found: "PaperOverview", as_json: bool) -> None:
    """Tables, data, encoders, figures."""
    if as_json:
        whole = {
            "paper": found.paper.name, "title": found.paper.title, "data": found.data, "encoders": found.encoders,
            "tables": [
                {"table": one.table.number, "title": one.table.title, "data": one.data, "encoders": one.encoders,
                 "command": one.command, "why_not": one.table.why}
                for one in found.tables
            ],
            "figures": [asdict(one) for one in found.paper.figures],
            "published": found.published,
        }  # fmt: skip
        print(json.dumps(whole, indent=1, ensure_ascii=False))
        return
    paper = found.paper
    tables = [
        {"table": one.table.number, "what": one.table.title, "data": ", ".join(one.data) or "-",
         "command": one.command or one.table.why}
        for one in found.tables
    ]  # fmt: skip
    data = [{"data": name, "here": here} for name, here in found.data.items()]
    encoders = [{"encoder": name, "here": here} for name, here in found.encoders.items()]
    figures = [
        {"figure": one.number, "what": one.title, "command": one.command or "no command yet", "note": one.note}
        for one in paper.figures
    ]
    parts = [f"{paper.title} ({paper.source}); preset {paper.preset}; {found.published} published figures known"]
    parts += [table(rows) for rows in (tables, data, encoders, figures) if rows]
    parts += ["\n".join(paper.note)] if paper.note else []
    print(visible_lines("\n\n".join(parts)))


def _plan(planned: "PlannedTable", as_json: bool) -> None:
    """What would be run, by which commands, and what would not."""
    rows, lines = planned.rows(), [*planned.lines, *planned.why_not()]
    if as_json:
        print(json.dumps({"cells": rows, "commands": planned.commands(), "notes": lines}, indent=1, ensure_ascii=False))
        return
    one = planned.table
    parts = [f"{planned.paper.title}: {one.name}, {one.title}"]
    if one.kind == "none":
        parts.append(one.why + (f": {one.command}" if one.command else ""))
    parts += [table(rows)] if rows else []
    parts += ["The same, run by run:\n" + "\n".join(commands)] if (commands := planned.commands()) else []
    parts += ["Not run, and what to know:\n" + "\n".join(f"- {line}" for line in lines)] if lines else []
    print(visible_lines("\n\n".join(parts)))
