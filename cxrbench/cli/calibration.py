"""``cxrbench calibration``: are the probabilities right, and does recalibration make them better?"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from cxrbench import api
from cxrbench.cli.console import counting_late
from cxrbench.cli.leaderboard import OutOption, ReplicatesOption, SeedOption, names, write
from cxrbench.cli.options import NamesOption, ResultsOption, TasksOption
from cxrbench.errors import UserError, chosen

METHODS: Mapping[str, Sequence[api.Recalibration]] = {
    "temperature": ("temperature",), "isotonic": ("isotonic",), "all": ("temperature", "isotonic"),
}  # fmt: skip


def calibration(
    results: ResultsOption = Path("results"),
    tasks: TasksOption = "",
    encoders: Annotated[str, typer.Option(help="Encoders, separated by commas [default: all].")] = "",
    method: Annotated[str, typer.Option(help="Recalibration: temperature, isotonic or all.")] = "all",
    plots: Annotated[Path | None, typer.Option(help="Folder to write reliability diagrams (PNG) into.")] = None,
    replicates: ReplicatesOption = 10_000,
    seed: SeedOption = 0,
    shown: NamesOption = None,
    output: OutOption = None,
    form: Annotated[str, typer.Option("--format", help="md, csv, json, html or latex.")] = "md",
) -> None:
    """Brier score and its parts, ECE and log loss, before and after recalibration on validation images.

    Reads saved classification predictions; nothing is trained again.

    Examples:

      cxrbench calibration --plots reliability/ -o calibration.md

      cxrbench calibration --tasks nih --encoders imagenet,random --method temperature --format json
    """
    chosen("--format", api.Form, form)
    if method not in METHODS:
        raise UserError(f"--method is temperature, isotonic or all, not {method!r}")
    if plots is not None and plots.exists() and not plots.is_dir():
        raise UserError(f"--plots {plots} is a file: name a folder for the diagrams")
    calibrated = api.calibration(
        results, tasks=names(tasks), encoders=names(encoders), methods=METHODS[method], replicates=replicates,
        seed=seed, names=",".join(shown or ()), bar=counting_late,
    )  # fmt: skip
    write(calibrated.text(form), output)  # type: ignore[arg-type]
    if plots is not None:
        for path in calibrated.draw(plots):
            typer.echo(path, err=True)
