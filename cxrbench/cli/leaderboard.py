"""The commands that need saved predictions and nothing else: leaderboard and compare."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cxrbench import api
from cxrbench.cli.console import counting_late
from cxrbench.cli.options import JsonOption, NamesOption, ResultsOption, TasksOption
from cxrbench.errors import UserError, chosen
from cxrbench.files.atomic import atomic_path, is_stream, writing

BoardForm = Literal["md", "csv", "json", "html", "latex", "grid"]
ProtocolsOption = Annotated[
    str,
    typer.Option(
        help="Protocols of one encoder in the place of encoders, as results name them, by commas; with @0.1 at that "
        "label fraction. --tasks then names data sets."
    ),
]
ReplicatesOption = Annotated[int, typer.Option(min=100, help="Bootstrap replicates.")]
SeedOption = Annotated[int, typer.Option(help="Seed of the bootstrap: same seed, same table.")]


def may_be_written(output: Path | None) -> Path | None:
    """The file that an option names. A folder, or a name that no file can have, is told before anything is computed."""
    if output is not None:
        with writing(output.parent):
            if output.is_dir():
                raise UserError(f"{output} is a folder: name a file in it, e.g. {output / 'leaderboard.md'}")
    return output


OutOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", callback=may_be_written, help="Write to this file instead of stdout."),
]


def leaderboard(
    results: ResultsOption = Path("results"),
    tasks: TasksOption = "",
    baseline: Annotated[
        str | None,
        typer.Option(
            help="Encoder (or protocol) that all others are tested against [default: random, if it was run; of "
            "--protocols the first]."
        ),
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="md, csv, json, latex, html: one page that opens anywhere, or grid: check marks (--against).",
        ),
    ] = "md",
    against: Annotated[
        str, typer.Option(help="With --format grid: the encoder that all others are tested against.")
    ] = "",
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
        typer.Option(
            help="Also a table of labels per task: all, names, or top:5 (the most frequent), by commas [md; the page "
            "has all of them]."
        ),
    ] = "",
    spread: Annotated[
        str, typer.Option(help="Beside a value: interval, or sd (over training seeds, else over folds) [md, html].")
    ] = "interval",
    by: Annotated[
        str,
        typer.Option(
            help="Within groups of patients instead: sex, age, view, site or scanner [classification, regression]. "
            "With --format html beside the rest, and several by commas."
        ),
    ] = "",
    protocols: ProtocolsOption = "",
    encoder: Annotated[str, typer.Option(help="With --protocols: the encoder.")] = "",
    published: Annotated[
        bool,
        typer.Option("--published", help="Also what the five papers print of these data sets, and what differs in it."),
    ] = False,
) -> None:
    """Turn saved predictions into a leaderboard: values, 95% intervals, tests against a baseline, tie groups.

    Examples:

      cxrbench leaderboard --baseline imagenet -o leaderboard.md

      cxrbench leaderboard --names spcl@runs/x/encoder.safetensors=S-PCL,imagenet=ImageNet

      cxrbench leaderboard --tasks nih:classification --metrics auroc --labels top:5 --spread sd

      cxrbench leaderboard --by sex --tasks nih:classification --baseline imagenet

      cxrbench leaderboard --encoder imagenet --protocols classification,knn,classification@0.1 --tasks nih

      cxrbench leaderboard --format csv | column -s, -t | less -S

      cxrbench leaderboard --format html --by sex,age -o board.html

      cxrbench leaderboard --format latex -o tables.tex

      cxrbench leaderboard --format grid --against imagenet

      cxrbench leaderboard --published --tasks rsna:classification --metrics auroc
    """
    baseline = tested_against(form, against, baseline, by)
    if by:
        from cxrbench.data.attributes import check_ways

        check_ways(names(by) if form == "html" else (by,))
    if published and (protocols or against or (by and form != "html")):
        raise UserError("--published is of encoders' values: leave out --by, --protocols and --format grid, or it")
    if bool(protocols) != bool(encoder):
        raise UserError("--encoder NAME and --protocols A,B,... go together: the protocols of that one encoder")
    if protocols:
        if by:
            raise UserError("--by and --protocols cannot be had in one table: leave out one of them")
        found = api.leaderboard_of_protocols(
            encoder, names(protocols), results, datasets=names(tasks), baseline=baseline, metrics=names(metrics),
            replicates=replicates, seed=seed, rope=0.01 if rope is None else rope, names=",".join(shown or ()),
            labels=labels, spread=spread, bar=counting_late,  # type: ignore[arg-type]
        )  # fmt: skip
        return write(written(found, form), output)
    if by and form != "html":
        if labels or spread != "interval" or rope is not None:
            raise UserError("--by shows means over labels with intervals: leave out --labels, --spread and --rope")
        grouped = api.by_group(
            by, results, tasks=names(tasks), baseline=baseline, metrics=names(metrics), replicates=replicates,
            seed=seed, names=",".join(shown or ()), bar=counting_late,
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
        published=published,
        bar=counting_late,
    )
    write(written(board, form, by), output)


def written(board: api.Leaderboard, form: str, by: str = "") -> str:
    """The board in a form; ``by``: groups of patients that a page shows as well."""
    if form == "grid":
        return board.to_grid()
    return board.to_page(by) if form == "html" else board.text(form)  # type: ignore[arg-type]


def tested_against(form: str, against: str, baseline: str | None, by: str) -> str | None:
    """The baseline of a form, of which ``--against`` is the one of a grid. Raises UserError where they do not fit."""
    chosen("--format", BoardForm, form)
    if form != "grid":
        if against:
            raise UserError("--against is of --format grid: elsewhere say --baseline NAME")
        return baseline
    if not against:
        raise UserError("--format grid needs --against NAME: the encoder that all others are tested against")
    if by:
        raise UserError("--by has no grid: leave out one of --by and --format grid")
    if baseline not in (None, against):
        raise UserError(f"--against {against} is the baseline of a grid: leave out --baseline {baseline}")
    return against


def compare(
    a: Annotated[str, typer.Argument(help="The encoder that may be better.")],
    b: Annotated[str, typer.Argument(help="The encoder that it is compared with; none with --protocols.")] = "",
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
    protocols: ProtocolsOption = "",
    output: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Is encoder A better than encoder B? Differences, 90% intervals and one-tailed p per task and label.

    Examples:

      cxrbench compare spcl random --tasks vindr,rsna

      cxrbench compare spcl imagenet --margin 0.01

      cxrbench compare spcl --protocols classification+views2,classification+views1 --tasks mimic
    """
    form: api.Form = "json" if as_json else "md"
    if bool(b) == bool(protocols):
        raise UserError("compare A B asks of two encoders, compare A --protocols P,Q of two protocols of one")
    if protocols:
        of_protocols = api.compare_protocols(
            a, names(protocols), results=results, datasets=names(tasks), metrics=names(metrics),
            replicates=replicates, seed=seed, margin=margin, names=",".join(shown or ()),
            bar=counting_late,
        )  # fmt: skip
        return write(of_protocols.text(form), output)
    compared = api.compare(
        a, b, results=results, tasks=names(tasks), metrics=names(metrics), replicates=replicates, seed=seed,
        margin=margin, names=",".join(shown or ()), bar=counting_late,
    )  # fmt: skip
    write(compared.text(form), output)


def names(text: str) -> tuple[str, ...]:
    """Names separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def write(text: str, output: Path | None) -> None:
    """To a file, whole or not at all, or to stdout, or to a device or pipe as it comes. Files are UTF-8."""
    if output is None:
        print(text, end="" if text.endswith("\n") else "\n")
        return
    if is_stream(output):
        output.write_text(text, encoding="utf-8")
        return
    with atomic_path(output) as temporary:
        temporary.write_text(text, encoding="utf-8")
