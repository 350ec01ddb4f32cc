"""``cxrbench plot``: a picture of the leaderboard alone, for a paper."""

from pathlib import Path
from typing import Annotated

import typer

from cxrbench import api
from cxrbench.cli.console import counting_late, warn
from cxrbench.cli.leaderboard import ReplicatesOption, SeedOption, names
from cxrbench.cli.options import NamesOption, ResultsOption, TasksOption
from cxrbench.drawing.files import Width, check_place
from cxrbench.errors import UserError, chosen
from cxrbench.files.names import visible

LIST = "list"
SHOWN = 3


def plot(
    what: Annotated[str, typer.Argument(help="Which picture: forest, matrix, ranks, ...; `list` says what there is.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write: .pdf, .svg or .png.")] = None,
    results: ResultsOption = Path("results"),
    tasks: TasksOption = "",
    metrics: Annotated[str, typer.Option(help="The metric [default: the headline].")] = "",
    fraction: Annotated[float | None, typer.Option(help="The label fraction [default: the largest].")] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Encoder that the others are tested against [default: random, if it was run].")
    ] = None,
    encoders: Annotated[
        str, typer.Option(help="Those on it, by commas, as they are shown; tests stay those among all [default: all].")
    ] = "",
    label: Annotated[str, typer.Option(help="Of roc, pr and reliability: one label [default: all together].")] = "",
    by: Annotated[str, typer.Option(help="Of groups: sex, age, view, site or scanner.")] = "",
    width: Annotated[
        str, typer.Option(help="Of one column of a paper, single (3.3 in), or of two, double (6.9 in).")
    ] = "double",
    caption: Annotated[bool, typer.Option("--caption/--no-caption", help="What it means, below it.")] = True,
    replicates: ReplicatesOption = 10_000,
    seed: SeedOption = 0,
    shown: NamesOption = None,
) -> None:
    """Draw one picture of the leaderboard: forest, matrix, ranks, labels, radar, fractions, reliability, roc, ...

    PDF has its fonts embedded (TrueType), SVG its letters as outlines; the same results give the same bytes.

    Examples:

      cxrbench plot forest -o forest.pdf --width single

      cxrbench plot labels --tasks vindr:classification --metrics auprc -o labels.svg

      cxrbench plot groups --by sex --tasks nih:classification -o groups.png

      cxrbench plot list
    """
    if what == LIST:
        pictures = api.list_plots()
        room = max(len(one.name) for one in pictures)
        return print("\n".join(f"{one.name:<{room}}  {one.summary}" for one in pictures))
    if output is None:
        raise UserError(f"where to? Add -o {what}.pdf, .svg or .png")
    check_place(output)
    across: Width = chosen("--width", Width, width)
    made = api.plot(
        what, results, baseline=baseline, tasks=names(tasks), metrics=names(metrics), encoders=names(encoders),
        fraction=fraction, label=label, by=by, replicates=replicates, seed=seed, names=",".join(shown or ()),
        bar=counting_late,
    )  # fmt: skip
    made.draw(output, width=across, caption=caption)
    print(visible(f"{output}: {made.title}"))
    if made.left_out:
        more = f" and {len(made.left_out) - SHOWN} more" if len(made.left_out) > SHOWN else ""
        warn(f"not on it: {'; '.join(made.left_out[:SHOWN])}{more}: choose by --metrics, --tasks and --fraction")
