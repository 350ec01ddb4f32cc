"""What saved predictions say: the leaderboard, a comparison of two encoders, calibration. No image, no model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, get_args

from cxrbench.api.forms import Calibrated, Compared, Grouped, Leaderboard
from cxrbench.errors import UserError, chosen

if TYPE_CHECKING:
    from cxrbench.engine.results import Results
    from cxrbench.predictions import NotApplicable, Predictions

Recalibration = Literal["temperature", "isotonic"]


class LeaderboardOptions(TypedDict, total=False):
    """What may be said of a leaderboard: the arguments of ``api.leaderboard`` but for the results."""

    baseline: str | None
    tasks: str | Sequence[str]
    metrics: str | Sequence[str]
    replicates: int
    seed: int
    rope: float
    names: str | Sequence[str]
    labels: str | Sequence[str]
    spread: Literal["interval", "sd"]


@dataclass(frozen=True)
class SavedResults:
    """The finished cells of a results folder."""

    folder: Path

    def leaderboard(self, **options: Unpack[LeaderboardOptions]) -> Leaderboard:
        """The leaderboard of these results and no others: see ``api.leaderboard``. Raises UserError."""
        return leaderboard(self, **options)

    def has(self, cell: Mapping[str, Any]) -> bool:
        """Whether a cell of the folder is one of these results."""
        del cell
        return True


Saved = Path | str | SavedResults
"""Whose results: all of a folder's, or those of one run."""


def load_results(folder: Path | str = "results") -> SavedResults:
    """The results folder of earlier runs. Raises UserError if it is not there::

    cxrbench.load_results("results").leaderboard(baseline="imagenet").to_pandas()
    """
    if not Path(folder).expanduser().is_dir():
        raise UserError(f"no results folder {folder} (looked from {Path.cwd()}): `cxrbench run` makes one")
    return SavedResults(Path(folder).expanduser())


def leaderboard(
    results: Saved = "results",
    *,
    baseline: str | None = None,
    tasks: str | Sequence[str] = (),
    metrics: str | Sequence[str] = (),
    replicates: int = 10_000,
    seed: int = 0,
    rope: float = 0.01,
    names: str | Sequence[str] = (),
    labels: str | Sequence[str] = (),
    spread: Literal["interval", "sd"] = "interval",
) -> Leaderboard:
    """The leaderboard of a results folder, or of one run: values, 95% intervals, tests against a baseline, tie groups.

    ``baseline``: the encoder that all others are tested against (default: ``random``, if it was run). ``tasks``:
    ``DATASET[:PROTOCOL]`` as in a run, ``./labels.csv`` too (default: all). ``metrics``: the first that a task has is
    its headline (default: all). ``replicates``: of the bootstrap over patients; ``seed``: of its draws. ``rope``: a
    difference to the baseline that does not matter, of metrics in [0, 1], for what is said over five data sets or more.
    ``names``: ``ENCODER=NAME``, what Markdown calls an encoder. ``labels``: those that Markdown has a table of, per
    task: names, ``all``, or ``top:K``, the most frequent. ``spread``: beside a value stands its interval, or the SD
    over training seeds or folds. Raises UserError::

        board = cxrbench.load_results("results").leaderboard(baseline="imagenet")
        board.to_pandas().query("label == 'macro'").pivot_table("value", "encoder", ["dataset", "metric"])
    """
    from cxrbench.engine.settings import names as separate
    from cxrbench.leaderboard.cells import Look, Spread
    from cxrbench.leaderboard.display import encoders_of, read_names, shown_names
    from cxrbench.leaderboard.per_label import check_labels
    from cxrbench.leaderboard.tables import build

    chosen("--spread", Spread, spread)
    look = Look(read_names(separate(names, "names")), tuple(separate(labels, "labels")), spread)
    found = saved_cells(results, _tasks(tasks))
    board = build(
        found.predictions,
        baseline=baseline,
        replicates=replicates,
        seed=seed,
        rope=rope,
        tasks=_tasks(tasks),
        metrics=tuple(separate(metrics, "metrics")) or None,
        efficiency=found.store.load_efficiency(found.predictions),
        not_applicable=found.not_applicable,
    )
    shown_names(encoders_of(board), look.names)  # a name or a label that is not there is told now, not when printed
    check_labels(board, look.labels)
    return Leaderboard(board, look)


def by_group(
    by: str,
    results: Saved = "results",
    *,
    baseline: str | None = None,
    tasks: str | Sequence[str] = (),
    metrics: str | Sequence[str] = (),
    replicates: int = 10_000,
    seed: int = 0,
    names: str | Sequence[str] = (),
) -> Grouped:
    """Encoders within groups of patients: values, intervals, tests, the worst group and its gap to the best.

    ``by``: sex, age, view, site or scanner, as the manifests beside the results know them. Classification only. The
    rest as of ``leaderboard``; ``metrics``: default each task's headline. Raises UserError.
    """
    from cxrbench.data.attributes import group_of
    from cxrbench.engine.settings import names as separate
    from cxrbench.leaderboard.display import read_names
    from cxrbench.leaderboard.subgroups.evaluate import by_group

    called = read_names(separate(names, "names"))
    saved = saved_cells(results, _tasks(tasks))
    wanted = [one.cell for one in saved.predictions if len(one.rows)]
    datasets = {(str(cell["dataset"]), str(cell.get("parts", {}).get("dataset", ""))) for cell in wanted}
    kept = {digest: saved.store.manifest_of(name, digest) for name, digest in sorted(datasets)}
    found = by_group(
        saved.predictions,
        {digest: group_of(manifest, by) for digest, manifest in kept.items() if manifest is not None},
        by,
        baseline=baseline,
        tasks=_tasks(tasks),
        metrics=tuple(separate(metrics, "metrics")) or None,
        replicates=replicates,
        seed=seed,
    )
    return Grouped(found, called)


def compare(
    a: str,
    b: str,
    *,
    results: Saved = "results",
    tasks: str | Sequence[str] = (),
    metrics: str | Sequence[str] = (),
    replicates: int = 10_000,
    seed: int = 0,
    margin: float | None = None,
    names: str | Sequence[str] = (),
) -> Compared:
    """Is encoder ``a`` better than ``b``? Differences, 90% intervals and one-tailed p per task and label.

    ``results``: a folder, or what ``cxrbench.run`` gave. ``metrics``: default each task's headline. ``margin``: a
    difference that does not matter, for tests of non-inferiority and equivalence. ``names``: ``ENCODER=NAME``, what
    Markdown calls an encoder. Raises UserError.
    """
    from cxrbench.engine.settings import names as separate
    from cxrbench.leaderboard.compare import compare
    from cxrbench.leaderboard.display import read_names

    called = read_names(separate(names, "names"))
    comparison = compare(
        saved_cells(results, _tasks(tasks)).predictions, a, b, tasks=_tasks(tasks),
        metrics=tuple(separate(metrics, "metrics")) or None, replicates=replicates, seed=seed, margin=margin,
    )  # fmt: skip
    return Compared(comparison, called)


def calibration(
    results: Saved = "results",
    *,
    tasks: str | Sequence[str] = (),
    encoders: str | Sequence[str] = (),
    methods: Sequence[Recalibration] = get_args(Recalibration),
    replicates: int = 10_000,
    seed: int = 0,
    names: str | Sequence[str] = (),
) -> Calibrated:
    """Brier score and its parts, ECE and log loss, before and after recalibration on validation images.

    Reads saved classification predictions; nothing is trained again. ``tasks``: ``DATASET[:PROTOCOL]``; ``encoders``:
    as the leaderboard names them (default: all of both); ``names``: ``ENCODER=NAME``, what Markdown calls an encoder.
    Raises UserError::

        print(cxrbench.calibration("results", encoders=["imagenet", "random"]))
    """
    for method in methods:
        chosen("--method", Recalibration, method)
    from cxrbench.engine.settings import names as separate
    from cxrbench.leaderboard.calibration.report import calibration, variants
    from cxrbench.leaderboard.display import read_names

    called = read_names(separate(names, "names"))
    of_tasks = variants(
        saved_cells(results, _tasks(tasks)).predictions,
        tasks=_tasks(tasks),
        encoders=tuple(separate(encoders, "encoders")) or None,
        methods=methods,
    )
    return Calibrated(calibration(of_tasks, replicates=replicates, seed=seed), of_tasks, called)


@dataclass(frozen=True)
class SavedCells:
    """What is finished of a store: predictions (of other tasks than those wanted the header alone), and who was not
    asked.
    """

    store: "Results"
    predictions: "list[Predictions]"
    not_applicable: "list[NotApplicable]"


def saved_cells(results: Saved, tasks: tuple[str, ...] | None) -> SavedCells:
    """The finished cells of a folder, as far as they are meant. Raises UserError if there are none."""
    from cxrbench.engine.results import Results

    meant = results if isinstance(results, SavedResults) else SavedResults(Path(results))
    store = Results(meant.folder)
    return SavedCells(
        store,
        [one for one in store.load_predictions(tasks or ()) if meant.has(one.cell)],
        [one for one in store.load_not_applicable() if meant.has(one.cell)],
    )


def _tasks(given: str | Sequence[str]) -> tuple[str, ...] | None:
    """Tasks as results name them; None where none was named."""
    from cxrbench.engine.registry import saved_task
    from cxrbench.engine.settings import names

    return tuple(map(saved_task, names(given, "tasks"))) or None
