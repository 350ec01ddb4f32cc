"""The public Python face: what the command line does, as functions.

    import cxrbench

    print(cxrbench.evaluate("./mine.py:Mine,random", "siim:classification"))
    print(cxrbench.board("results"))

Importing this costs nothing; torch comes with the first encoder that has to compute.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from cxrbench.files.folders import cache_folder
from cxrbench.progress import Progress

if TYPE_CHECKING:
    from cxrbench.data.manifest import Manifest
    from cxrbench.encoder import Encoder
    from cxrbench.engine.job import Job
    from cxrbench.engine.settings import Settings
    from cxrbench.predictions import Predictions
    from cxrbench.task import Cell


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation gave: a row per cell (``encoder``, ``task``, ``fraction``, ``seed``, ``metric``, ``value``).

    The first metric of each task, mean over labels; None where it is undefined or, with the reason in ``metric``, where
    the encoder cannot be asked or the cell failed. Printed as a table.
    """

    rows: tuple[dict[str, Any], ...]
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        from tabulate import tabulate

        return "\n".join([tabulate(list(self.rows), headers="keys", missingval="undefined"), *self.remarks])


def evaluate(
    encoders: str | Sequence[str],
    tasks: str | Sequence[str],
    *,
    progress: Progress | None = None,
    **settings: Unpack["Settings"],
) -> Evaluated:
    """Run encoders on tasks, as ``cxrbench run`` does, and say how good they are. What is finished is not done again.

    ``encoders``: specs (``imagenet``, ``./mine.py:Mine``), ``tasks``: ``DATASET[:PROTOCOL]``; several in a list, or
    separated by commas. Raises UserError.
    """
    from cxrbench.engine.execute import Failed, Inapplicable
    from cxrbench.predictions import Predictions

    progress = progress or Progress()
    job = prepare(encoders, tasks, progress=progress, **settings)
    reasons = {id(p): f"not applicable: {p.reason}" for p in job.plan.cells if p.state == "not applicable"}
    for outcome in job.execute(progress):
        if isinstance(outcome, Inapplicable | Failed):
            what = "failed" if isinstance(outcome, Failed) else "not applicable"
            reasons[id(outcome.planned)] = f"{what}: {outcome.reason}"
    rows = []
    for planned in job.plan.cells:
        if id(planned) in reasons:
            facts = {"metric": reasons[id(planned)], "value": None}
        else:
            facts = headline_facts(Predictions.load(job.request.results.path(planned.cell)))
        rows.append(cell_facts(planned.cell) | facts)
    return Evaluated(tuple(rows), job.remarks)


def prepare(
    encoders: str | Sequence[str],
    tasks: str | Sequence[str],
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
    **settings: Unpack["Settings"],
) -> "Job":
    """What ``evaluate`` would do, not done: a Job with its plan. ``dry_run``: no phantom is drawn for it either.

    A preset also sets the label fractions and seeds that its paper shows, unless they are given. Raises UserError.
    """
    from cxrbench.engine.job import prepare

    if (preset := settings.get("preset")) is not None:
        from cxrbench.tasks.presets.recipes import run_settings

        fractions, seeds = run_settings(preset)
        settings["fractions"] = settings.get("fractions") or fractions
        settings["seeds"] = settings.get("seeds") or seeds
    return prepare(encoders, tasks, dry_run=dry_run, progress=progress or Progress(), **settings)


def load_encoder(spec: str, *, synthetic: bool = False) -> "Encoder":
    """The encoder that a spec names: a torch module in eval mode, weights frozen, with its ``preprocess``.

    ``synthetic``: a bare name may mean weights that are for phantom images only. Raises UserError.
    """
    from cxrbench.engine.registry import load_encoder

    return load_encoder(spec, synthetic=synthetic).module


def load_dataset(name: str, *, data: Path | str | None = None, cache: Path | str | None = None) -> "Manifest":
    """The table of a dataset's images by its name or the path of a CSV; without ``data``, the phantom. UserError."""
    from cxrbench.engine.registry import load_dataset
    from cxrbench.phantom.write import ensure

    folder, kept = None if data is None else Path(data), cache_folder(None if cache is None else Path(cache))
    return load_dataset(name, folder, lambda: ensure(kept, [name]), cache=kept)


def board(
    results: Path | str = "results",
    *,
    baseline: str | None = None,
    metrics: str | Sequence[str] = (),
    replicates: int = 10_000,
    seed: int = 0,
    form: Literal["md", "csv", "json"] = "md",
) -> str:
    """The leaderboard of a results folder as text: values, 95% intervals, tests against a baseline, tie groups.

    ``metrics``: the first that a task has is its headline (default: all). Raises UserError.
    """
    from cxrbench.engine.results import Results
    from cxrbench.engine.settings import names
    from cxrbench.leaderboard.markdown import to_markdown
    from cxrbench.leaderboard.render import to_csv, to_json
    from cxrbench.leaderboard.tables import build

    store = Results(Path(results))
    predictions = store.load_predictions()
    table = build(
        predictions,
        baseline=baseline,
        replicates=replicates,
        seed=seed,
        metrics=tuple(names(metrics, "metrics")) or None,
        efficiency=store.load_efficiency(predictions),
        not_applicable=store.load_not_applicable(),
    )
    return {"md": to_markdown, "csv": to_csv, "json": to_json}[form](table)


def compare(
    a: str,
    b: str,
    *,
    results: Path | str = "results",
    tasks: str | Sequence[str] = (),
    metrics: str | Sequence[str] = (),
    replicates: int = 10_000,
    seed: int = 0,
    form: Literal["md", "json"] = "md",
) -> str:
    """Is encoder ``a`` better than ``b``? Differences, 95% intervals and one-tailed p per task and label, as text.

    ``metrics``: default each task's headline. Raises UserError.
    """
    from cxrbench.engine.results import Results
    from cxrbench.engine.settings import names
    from cxrbench.leaderboard.compare import compare, comparison_to_json, comparison_to_markdown

    comparison = compare(
        Results(Path(results)).load_predictions(), a, b, tasks=tuple(names(tasks, "tasks")) or None,
        metrics=tuple(names(metrics, "metrics")) or None, replicates=replicates, seed=seed,
    )  # fmt: skip
    return (comparison_to_json if form == "json" else comparison_to_markdown)(comparison)


def cell_facts(cell: "Cell") -> dict[str, Any]:
    """A cell's coordinates as a row."""
    return {"encoder": cell.encoder, "task": cell.task, "fraction": cell.fraction, "seed": cell.seed}


def headline_facts(predictions: "Predictions") -> dict[str, Any]:
    """The first metric of a cell as a row: its name and its value, None where it is undefined."""
    from cxrbench.metrics.kinds import headline

    metric, value = headline(predictions)
    return {"metric": metric, "value": None if math.isnan(value) else round(value, 4)}
