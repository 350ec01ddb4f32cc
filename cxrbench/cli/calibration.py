"""``cxrbench calibration``: are the probabilities right, and does recalibration make them better?"""

from pathlib import Path
from typing import Annotated

import typer

from cxrbench.cli.leaderboard import OutOption, ReplicatesOption, SeedOption, names, write
from cxrbench.cli.options import ResultsOption
from cxrbench.errors import UserError


def calibration(
    results: ResultsOption = Path("results"),
    tasks: Annotated[str, typer.Option(help="DATASET[:PROTOCOL], separated by commas [default: all].")] = "",
    encoders: Annotated[str, typer.Option(help="Encoders, separated by commas [default: all].")] = "",
    method: Annotated[str, typer.Option(help="Recalibration: temperature, isotonic or all.")] = "all",
    plots: Annotated[Path | None, typer.Option(help="Folder to write reliability diagrams (PNG) into.")] = None,
    replicates: ReplicatesOption = 10_000,
    seed: SeedOption = 0,
    output: OutOption = None,
    form: Annotated[str, typer.Option("--format", help="md, csv or json.")] = "md",
) -> None:
    """Brier score and its parts, ECE and log loss, before and after recalibration on validation images.

    Reads saved classification predictions; nothing is trained again.

    Examples:

      cxrbench calibration --plots reliability/ -o calibration.md

      cxrbench calibration --tasks nih --encoders imagenet,random --method temperature --format json
    """
    if form not in ("md", "csv", "json"):
        raise UserError(f"--format is md, csv or json, not {form!r}")
    if method not in ("temperature", "isotonic", "all"):
        raise UserError(f"--method is temperature, isotonic or all, not {method!r}")
    from cxrbench.engine.results import Results
    from cxrbench.leaderboard.calibration import calibration as report_on
    from cxrbench.leaderboard.calibration import variants
    from cxrbench.leaderboard.calibration_tables import to_csv, to_json, to_markdown
    from cxrbench.leaderboard.recalibration import METHODS

    of_tasks = variants(
        Results(results).load_predictions(),
        tasks=names(tasks) or None,
        encoders=names(encoders) or None,
        methods=[one for one in METHODS if method in (one, "all")],
    )
    report = report_on(of_tasks, replicates=replicates, seed=seed)
    write({"md": to_markdown, "csv": to_csv, "json": to_json}[form](report), output)
    if plots is not None:
        from cxrbench.leaderboard.reliability import draw

        for path in draw(of_tasks, plots):
            typer.echo(path, err=True)
