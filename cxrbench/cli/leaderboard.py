"""The commands that need saved predictions and nothing else: leaderboard and compare."""

from pathlib import Path
from typing import Annotated

import typer

from cxrbench import api
from cxrbench.cli.options import JsonOption, NamesOption, ResultsOption, TasksOption
from cxrbench.errors import UserError, chosen
from cxrbench.files.atomic import atomic_path

ReplicatesOption = Annotated[int, typer.Option(min=100, help="Bootstrap replicates.")]
SeedOption = Annotated[int, typer.Option(help="Seed of the bootstrap: same seed, same table.")]
OutOption = Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file instead of stdout.")]


def leaderboard(
    results: ResultsOption = Path("results"),
    tasks: TasksOption = "",
    baseline: Annotated[
        str | None, typer.Option(help="Encoder that all others are tested against [default: random, if it was run].")
    ] = None,
    form: Annotated[str, typer.Option("--format", help="md, csv, json, html or latex.")] = "md",
    output: OutOption = None,
    metrics: Annotated[
        str,
        typer.Option(help="Metrics, separated by commas; the first that a task has is its headline [default: all]."),
    ] = "",
    replicates: ReplicatesOption = 10_000,
    seed: SeedOption = 0,
    rope: Annotated[
        float | None,
        typer.Option(
            help="A difference to the baseline that does not matter: better by more over data sets? [default: 0.01]"
        ),
    ] = None,
    shown: NamesOption = None,
    labels: Annotated[
        str,
        typer.Option(help="Also a table of labels per task: all, names, or top:5 (the most frequent), by commas [md]."),
    ] = "",
    spread: Annotated[
        str, typer.Option(help="Beside a value: interval, or sd (over training seeds, else over folds) [md].")
    ] = "interval",
    by: Annotated[
        str, typer.Option(help="Within groups of patients instead: sex, age, view, site or scanner [classification].")
    ] = "",
) -> None:
    """Turn saved predictions into a leaderboard: values, 95% intervals, tests against a baseline, tie groups.

    Examples:

      cxrbench leaderboard --baseline imagenet -o leaderboard.md

      cxrbench leaderboard --names spcl@runs/x/encoder.safetensors=S-PCL,imagenet=ImageNet

      cxrbench leaderboard --tasks nih:classification --metrics auroc --labels top:5 --spread sd

      cxrbench leaderboard --by sex --tasks nih:classification --baseline imagenet

      cxrbench leaderboard --format csv | column -s, -t | less -S
    """
    chosen("--format", api.Form, form)
    if by:
        if labels or spread != "interval" or rope is not None:
            raise UserError("--by shows means over labels with intervals: leave out --labels, --spread and --rope")
        grouped = api.by_group(
            by, results, tasks=names(tasks), baseline=baseline, metrics=names(metrics), replicates=replicates,
            seed=seed, names=",".join(shown or ()),
        )  # fmt: skip
        return write(grouped.text(form), output)  # type: ignore[arg-type]
    board = api.leaderboard(
        results,
        tasks=names(tasks),
        baseline=baseline,
        metrics=names(metrics),
        replicates=replicates,
        seed=seed,
        rope=0.01 if rope is None else rope,
        names=",".join(shown or ()),
        labels=labels,
        spread=spread,  # type: ignore[arg-type]
    )
    write(board.text(form), output)  # type: ignore[arg-type]


def compare(
    a: Annotated[str, typer.Argument(help="The encoder that may be better.")],
    b: Annotated[str, typer.Argument(help="The encoder that it is compared with.")],
    tasks: TasksOption = "",
    results: ResultsOption = Path("results"),
    metrics: Annotated[str, typer.Option(help="Metrics, separated by commas [default: each task's headline].")] = "",
    replicates: ReplicatesOption = 10_000,
    seed: SeedOption = 0,
    shown: NamesOption = None,
    margin: Annotated[
        float | None,
        typer.Option(help="A difference that does not matter: is A not worse than B by it, are they equal within it?"),
    ] = None,
    output: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Is encoder A better than encoder B? Differences, 90% intervals and one-tailed p per task and label.

    Examples:

      cxrbench compare spcl random --tasks vindr,rsna

      cxrbench compare spcl imagenet --margin 0.01
    """
    compared = api.compare(
        a, b, results=results, tasks=names(tasks), metrics=names(metrics), replicates=replicates, seed=seed,
        margin=margin, names=",".join(shown or ()),
    )  # fmt: skip
    write(compared.text("json" if as_json else "md"), output)


def names(text: str) -> tuple[str, ...]:
    """Names separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def write(text: str, output: Path | None) -> None:
    """To a file, whole or not at all, or to stdout."""
    if output is None:
        print(text, end="" if text.endswith("\n") else "\n")
        return
    if output.is_dir():
        raise UserError(f"-o {output} is a folder: name a file in it, e.g. {output / 'leaderboard.md'}")
    with atomic_path(output) as temporary:
        temporary.write_text(text)
