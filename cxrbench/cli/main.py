"""The command line: the composition root. Thin: it parses, calls, prints."""

import json
import math
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cxrbench import __version__
from cxrbench.cli.calibration import calibration
from cxrbench.cli.console import RunBars, bar, warn
from cxrbench.cli.inspect import data_app, encoders_app, tasks_app
from cxrbench.cli.leaderboard import compare, leaderboard
from cxrbench.cli.options import (
    MAX_PIXELS,
    AugmentOption,
    CacheLimitOption,
    CacheOption,
    DataOption,
    DecoderOption,
    EpochsOption,
    FinetuneOption,
    FoldsOption,
    JsonOption,
    MaxPixelsOption,
    PresetOption,
    ResultsOption,
    TextEncoderOption,
    ViewsOption,
    cache_folder,
    parse_bytes,
    parse_folds,
    phantom_folder,
    runs_of,
    task_options,
)
from cxrbench.cli.prepare import data_prepare
from cxrbench.cli.pretrain import pretrain
from cxrbench.cli.show import show
from cxrbench.errors import UserError

INTERRUPTED = 130  # exit code of Ctrl-C
USAGE_ERROR: Any = typer.BadParameter.__mro__[1]  # click's UsageError, wherever typer keeps its click

app = typer.Typer(
    name="cxrbench",
    help="Which pretrained chest X-ray encoder is better, on which task, and is the difference real?",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
data_app.command("prepare")(data_prepare)
app.add_typer(data_app, name="data")
app.add_typer(encoders_app, name="encoders")
app.add_typer(tasks_app, name="tasks")
app.command()(pretrain)
app.command()(leaderboard)
app.command()(compare)
app.command()(show)
app.command()(calibration)


def version(value: bool) -> None:
    """Print the version and stop."""
    if value:
        print(f"cxrbench {__version__}")
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Which pretrained chest X-ray encoder is better, on which task, and is the difference real?"""


@app.command()
def run(
    encoder: Annotated[
        str, typer.Option(help="Encoders, separated by commas: spcl,imagenet,timm:NAME@file,./mine.py:Mine; or all.")
    ],
    tasks: Annotated[
        str,
        typer.Option(
            help="DATASET[:PROTOCOL], separated by commas; a dataset may be a CSV file. Without a protocol: all that "
            "the dataset can serve, but for the long ones (`cxrbench tasks list` marks them)."
        ),
    ],
    data: DataOption = None,
    results: ResultsOption = Path("results"),
    fractions: Annotated[
        str | None, typer.Option(help="Label fractions of the training split, e.g. 0.01,0.1,1 [default: 1].")
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, help="Repetitions of all that has chance in it: training patients, networks [default: 1]."),
    ] = None,
    folds: FoldsOption = None,
    decoder: DecoderOption = None,
    finetune: FinetuneOption = False,
    augment: AugmentOption = 0,
    epochs: EpochsOption = None,
    views: ViewsOption = None,
    preset: PresetOption = None,
    text_encoder: TextEncoderOption = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    precision: Annotated[str, typer.Option(help="auto (bf16 where the hardware has it), fp32 or bf16.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Images per encoder call.")] = 64,
    workers: Annotated[int, typer.Option(min=0, help="Decoding threads; 0: one per CPU core, at most 16.")] = 0,
    on_bad_image: Annotated[str, typer.Option(help="error, or skip: drop unreadable images and count them.")] = "error",
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and do nothing.")] = False,
    cache: CacheOption = None,
    cache_limit: CacheLimitOption = "20GB",
    as_json: JsonOption = False,
) -> None:
    """Run encoders on tasks. Finished cells are skipped; interrupt at any time and run again.

    Without a data folder (--data or CXRBENCH_DATA) the phantom serves: procedural X-rays in the official layouts.

    Examples:

      cxrbench run --encoder spcl,imagenet,random --tasks vindr,rsna,siim

      cxrbench run --encoder imagenet,hf:./rad-dino --tasks nih,./my/labels.csv --data /data --fractions 0.1,1 --seeds 3

      cxrbench run --encoder imagenet,random --tasks siim:segmentation,rsna:detection --decoder unet --epochs 30
    """
    from cxrbench.engine.execute import Refused, execute
    from cxrbench.engine.plan import RunRequest, make_plan
    from cxrbench.engine.registry import parse_tasks
    from cxrbench.engine.results import Results
    from cxrbench.features.device import resolve_device, resolve_precision
    from cxrbench.features.extract import ExtractOptions
    from cxrbench.metrics.kinds import headline

    if on_bad_image not in ("error", "skip"):
        raise UserError(f"--on-bad-image is error or skip, not {on_bad_image!r}")
    where = resolve_device(device)
    options = ExtractOptions(
        where, resolve_precision(precision, where), batch_size, workers or min(os.cpu_count() or 1, 16), max_pixels
    )
    shown_fractions, shown_seeds = runs_of(preset, fractions, seeds)
    request = RunRequest(
        encoders=tuple(dict.fromkeys(name.strip() for name in encoder.split(",") if name.strip())),
        tasks=tuple(parse_tasks(tasks)),
        data=data,
        phantom=lambda: phantom_folder(cache, [name for name, _ in parse_tasks(tasks)]),
        results=Results(results),
        precision=options.precision,
        fractions=shown_fractions,
        seeds=shown_seeds,
        skip_bad=on_bad_image == "skip",
        task_options=task_options(
            decoder=decoder, finetune=finetune, augment=augment, epochs=epochs, views=views, preset=preset,
            text_encoder=text_encoder,
        ),
        folds=parse_folds(folds),
        cache_limit=parse_bytes(cache_limit),
        cache=cache_folder(cache),
    )  # fmt: skip
    if not request.encoders:
        raise UserError("--encoder names no encoder: try --encoder imagenet, or `cxrbench encoders list`")
    plan = make_plan(request)
    if dry_run:
        for remark in plan.remarks:
            warn(remark)
        rows = [{**cell_facts(p.cell), "state": p.state, "reason": p.reason} for p in plan.cells]
        print(json.dumps(rows, indent=1) if as_json else table(rows))
        return
    done = []
    skipped = sum(p.state in ("done", "not applicable") for p in plan.cells)
    with bar() as progress:
        bars = RunBars(progress)
        for planned in plan.cells:
            if planned.state == "not applicable":
                bars.note(refusal(planned.cell, planned.reason))
        cells = progress.add_task("cells", total=len(plan.cells), completed=skipped)
        for finished in execute(plan, request, cache_folder(cache), options, bars):
            progress.advance(cells)
            bars.done()
            if isinstance(finished, Refused):
                bars.note(refusal(finished.planned.cell, finished.reason))
            else:
                metric, value = headline(finished.predictions)
                shown = None if math.isnan(value) else round(value, 4)
                done.append({**cell_facts(finished.planned.cell), "metric": metric, "value": shown})
    for remark in plan.remarks:  # at the end, where they do not hide an error
        warn(remark)
    if as_json:
        print(json.dumps(done, indent=1))
        return
    if done:
        print(table(done))
    kept = f", {skipped} finished before" if skipped else ""
    print(f"{len(done)} cells computed{kept}. Next: cxrbench leaderboard --results {results}")


def refusal(cell: Any, reason: str) -> str:
    """One line for a cell that its encoder cannot serve."""
    return f"{cell.task} is not applicable to {cell.encoder}: {reason}"


def cell_facts(cell: Any) -> dict[str, Any]:
    """A cell's coordinates as a row."""
    return {"encoder": cell.encoder, "task": cell.task, "fraction": cell.fraction, "seed": cell.seed}


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as an aligned plain table."""
    from tabulate import tabulate

    return tabulate(rows, headers="keys", missingval="undefined")


def main() -> None:
    """Entry point. A user's mistake is one line on stderr and exit code 2; Ctrl-C is 130."""
    # OpenMP's idle threads spin by default and take the cores from the threads that decode (and from other processes):
    # training and extraction on a busy machine ran several times slower. Read when torch is imported, so set here.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    code: int | None = None
    try:
        code = app(standalone_mode=False)  # typer returns exit codes here, that of Ctrl-C, too
    except UserError as error:
        fail(" ".join(str(error).split()), 2)
    except USAGE_ERROR as error:
        command = error.ctx.command_path if error.ctx else "cxrbench"
        fail(f"{error.format_message()} (see {command} --help)", 2)
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    if code == INTERRUPTED:
        fail("interrupted; what was finished is kept: run the same command again to go on", INTERRUPTED)
    if code:
        sys.exit(code)


def fail(message: str, code: int) -> None:
    """One line, then the exit code."""
    print(f"error: {message}" if code == 2 else message, file=sys.stderr)
    sys.exit(code)
