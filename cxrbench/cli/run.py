"""``cxrbench run``: encoders on tasks."""

import json
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cxrbench import api
from cxrbench.cli.cluster.cost import CostOption, OnOption, cost_text
from cxrbench.cli.cluster.options import (
    ExecutorOption,
    ExecutorOptionsOption,
    LeaseOption,
    RetriesOption,
    ShardOption,
    executor_table,
    interruptible,
    parse_shard,
)
from cxrbench.cli.console import RunBars, bar, table, warn
from cxrbench.cli.failures import FAILED, failure_rows, failure_table
from cxrbench.cli.options import (
    MAX_PIXELS,
    AugmentOption,
    BatchSizeOption,
    BudgetOption,
    BudgetUnitOption,
    CacheLimitOption,
    CacheOption,
    DataOption,
    DecoderOption,
    DecodingOption,
    DetectorOption,
    DeviceOption,
    DryRunOption,
    EcgTeacherOption,
    EpochsOption,
    FailFastOption,
    FinetuneOption,
    FoldsOption,
    JsonOption,
    LabsTeacherOption,
    LogOption,
    MaxPixelsOption,
    PrecisionOption,
    PresetOption,
    ResultsOption,
    SkipOption,
    TextEncoderOption,
    TrainOption,
    ViewsOption,
    parse_budget,
    parse_fractions,
)
from cxrbench.errors import UserError
from cxrbench.files.names import visible


def run(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(help="A run file (TOML): encoders, tasks and options by name; what is typed stands above it."),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="Encoders, separated by commas: spcl,imagenet,timm:NAME@file,./mine.py:Mine; or all."),
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option(
            help="DATASET[:PROTOCOL], separated by commas; a dataset may be a CSV file. Without a protocol: all that "
            "the dataset can serve, but for the long ones (`cxrbench tasks list` marks them)."
        ),
    ] = None,
    train: TrainOption = None,
    data: DataOption = None,
    results: ResultsOption = Path("results"),
    fractions: Annotated[
        str | None, typer.Option(help="Label fractions of the training split, e.g. 0.01,0.1,1 [default: 1].")
    ] = None,
    budget: BudgetOption = None,
    budget_unit: BudgetUnitOption = None,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, help="Repetitions of all that has chance in it: training patients, networks [default: 1]."),
    ] = None,
    folds: FoldsOption = None,
    decoder: DecoderOption = None,
    detector: DetectorOption = None,
    finetune: FinetuneOption = False,
    augment: AugmentOption = 0,
    epochs: EpochsOption = None,
    views: ViewsOption = None,
    preset: PresetOption = None,
    text_encoder: TextEncoderOption = None,
    ecg_teacher: EcgTeacherOption = None,
    labs_teacher: LabsTeacherOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    batch_size: BatchSizeOption = 64,
    workers: DecodingOption = 0,
    on_bad_image: SkipOption = "error",
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    dry_run: DryRunOption = False,
    cost: CostOption = False,
    on: OnOption = None,
    cache: CacheOption = None,
    cache_limit: CacheLimitOption = "20GB",
    log: LogOption = None,
    fail_fast: FailFastOption = False,
    executor: ExecutorOption = None,
    executor_option: ExecutorOptionsOption = None,
    retries: RetriesOption = None,
    shard: ShardOption = None,
    lease: LeaseOption = 60.0,
    as_json: JsonOption = False,
) -> None:
    """Run encoders on tasks. Finished cells are skipped; interrupt at any time and run again.

    A cell that fails does not end the others: they are listed in the end, with reasons, and the exit code is 1.

    Without a data folder (--data or CXRBENCH_DATA) the phantom serves: procedural X-rays in the official layouts.

    Examples:

      cxrbench run --encoder spcl,imagenet,random --tasks vindr,rsna,siim

      cxrbench run --encoder imagenet,hf:./rad-dino --tasks nih,./my/labels.csv --data /data --fractions 0.1,1 --seeds 3

      cxrbench run --encoder imagenet,random --tasks siim:segmentation,rsna:detection --decoder unet --epochs 30

      cxrbench run --encoder spcl,random --train mimic+chexpert --tasks mimic,chexpert,all

      cxrbench run --encoder mvmae,random --tasks mimic:linear --budget 5000,20000 --budget-unit study --seeds 3

      cxrbench run board.toml --device cuda:1

      cxrbench run board.toml --dry-run --cost --on 8

      cxrbench run board.toml --executor local:2

      cxrbench run board.toml --shard 1/3
    """
    settings: dict[str, Any] = {
        "train": train, "data": data, "results": results, "fractions": parse_fractions(fractions), "seeds": seeds,
        "folds": folds, "budget": parse_budget(budget), "budget_unit": budget_unit,
        "decoder": decoder, "detector": detector, "finetune": finetune, "augment": augment, "epochs": epochs,
        "views": views, "preset": preset, "text_encoder": text_encoder, "ecg_teacher": ecg_teacher,
        "labs_teacher": labs_teacher, "device": device, "precision": precision, "batch_size": batch_size,
        "workers": workers, "on_bad_image": on_bad_image, "max_pixels": max_pixels, "cache": cache,
        "cache_limit": cache_limit, "log": log, "executor": executor, "retries": retries,
    }  # fmt: skip
    asked = {"encoders": encoder, "tasks": tasks, **settings}
    if file is not None:
        asked |= from_file(file, {name: asked[name] for name in typed(context, asked)})
    settings = {name: value for name, value in asked.items() if name not in ("encoders", "tasks")}
    settings["executor"] = executor_table(asked["executor"], executor_option or [])
    if shard is not None and executor is None and settings["executor"]:
        warn(f"--shard {shard} is as typed: the [executor] of {file} is not used")
        settings["executor"] = None
    manner = manner_of(shard, settings, lease)
    results = Path(settings["results"])
    if not asked["encoders"] or not asked["tasks"]:
        raise UserError("name --encoder and --tasks, or a run file: cxrbench run board.toml")
    if (cost and not dry_run) or (on is not None and not cost):
        raise UserError("--cost is said of a --dry-run, and --on of its --cost: --dry-run --cost --on 8")
    done: list[dict[str, Any]] = []
    elsewhere, costs = 0, None
    failed: list[api.Outcome] = []
    with bar() as progress:
        bars = RunBars(progress)
        job = api.prepare(asked["encoders"], asked["tasks"], dry_run=dry_run, progress=bars, **settings)
        plan = api.planned(job)
        skipped = sum(row["state"] in ("done", "not applicable") for row in plan)
        for row in () if dry_run else plan:
            if row["state"] == "not applicable":
                bars.note(not_applicable(row, row["reason"]))
        if cost and any(row["state"] != "blocked" for row in plan):
            costs = api.cost(job, workers=on or 1, progress=bars)
        cells = progress.add_task("cells", total=len(plan), completed=skipped, visible=not dry_run)
        for outcome in () if dry_run else api.outcomes(job, bars, fail_fast=fail_fast, manner=manner):
            progress.advance(cells)
            bars.done()
            if outcome.state == "computed":
                done.append(outcome.cell | outcome.headline)
            elif outcome.state == "failed":
                failed.append(outcome)
            elif outcome.state == "done elsewhere":
                elsewhere += 1
            else:
                bars.note(not_applicable(outcome.cell, outcome.reason))
    for remark in job.remarks:  # at the end, where they do not hide an error
        warn(remark)
    if costs is not None:
        print(cost_text(costs, as_json=as_json))
    elif dry_run:
        print(json.dumps(plan, indent=1) if as_json else table(plan))
        if plan and all(row["state"] == "blocked" for row in plan):
            raise UserError(plan[0]["reason"])  # as without --dry-run
    elif as_json:
        print(json.dumps([*done, *failure_rows(failed)], indent=1))
    else:
        if done:
            print(table(done))
        kept = f", {skipped} finished before" if skipped else ""
        kept += f", {elsewhere} by other workers" if elsewhere else ""
        kept += f", {len(failed)} failed" if failed else ""
        following = f" Next: cxrbench leaderboard --results {results}" if done or skipped or elsewhere else ""
        cells = "1 cell" if len(done) == 1 else f"{len(done)} cells"
        print(visible(f"{cells} computed{kept}.{following}"))
    if failed:
        print(failure_table(failed), file=sys.stderr)
        raise typer.Exit(FAILED)


def manner_of(shard: str | None, settings: Mapping[str, Any], lease: float) -> api.Manner | None:
    """How this process works as one of several; None where it is alone, or others work for it. Raises UserError."""
    if (share := parse_shard(shard)) is None:
        return None
    if settings["executor"]:
        raise UserError(f"--shard {shard} with --executor: a shard is a worker itself; leave one out")
    interruptible()
    retries = settings["retries"]
    return api.Manner((share[0] - 1) / share[1], ttl=lease, **({} if retries is None else {"retries": retries}))


def not_applicable(cell: Mapping[str, Any], reason: str) -> str:
    """One line for a cell that its encoder cannot serve."""
    return f"{cell['task']} is not applicable to {cell['encoder']}: {reason}"


def typed(context: typer.Context, asked: Collection[str]) -> list[str]:
    """Which of the options were typed: neither a default nor from the environment."""
    sources = {name: context.get_parameter_source({"encoders": "encoder"}.get(name, name)) for name in asked}
    return [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]


def from_file(file: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a run file says and was not typed; a line on stderr for each that was. Raises UserError."""
    said = api.read_run_file(file)
    for name in [name for name in said if name in given]:
        option = {"encoders": "--encoder"}.get(name, f"--{name.replace('_', '-')}")
        warn(f"{option} is as typed, not as in {file} ({said.pop(name)!r})")
    return said
