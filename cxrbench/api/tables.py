"""What saved predictions say: the leaderboard, a comparison of two encoders, calibration. No image, no model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from cxrbench.api.forms import Calibrated, Compared, Grouped, Leaderboard
from cxrbench.api.pages.sources import BoardSources, cells_of
from cxrbench.api.saved import Saved, kept_in, saved_cells, saved_names
from cxrbench.arguments import check_type, check_whole
from cxrbench.errors import chosen
from cxrbench.progress import Bar, unseen

Recalibration = Literal["temperature", "isotonic"]
FEWEST = 100
"""Replicates, as on the command line: of fewer, a standard error is noise."""


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
    published: bool = False,
    cache: Path | str | None = None,
    bar: Bar = unseen,
) -> Leaderboard:
    """The leaderboard of a results folder, or of one run: values, 95% intervals, tests against a baseline, tie groups.

    ``baseline``: the encoder that all others are tested against (default: ``random``, if it was run). ``tasks``:
    ``DATASET[:PROTOCOL]`` as in a run, ``./labels.csv`` too (default: all). ``metrics``: the first that a task has is
    its headline (default: all). ``replicates``: of the bootstrap over patients; ``seed``: of its draws. ``rope``: a
    difference to the baseline that does not matter, of metrics in [0, 1], for what is said over five data sets or more.
    ``names``: ``ENCODER=NAME``, what Markdown calls an encoder. ``labels``: those that Markdown has a table of, per
    task: names, ``all``, or ``top:K``, the most frequent. ``spread``: beside a value stands its interval, or the SD
    over training seeds or folds. ``published``: what the five papers print of these data sets stands beside, in
    italics, with what differs; never tested. What is evaluated is kept in ``cache``, and not evaluated again; ``bar``
    shows the rest. Raises UserError.

    Example::

        board = cxrbench.load_results("results").leaderboard(baseline="imagenet")
        board.to_pandas().query("label == 'macro'").pivot_table("value", "encoder", ["dataset", "metric"])
    """
    from cxrbench.engine.settings import names as separate
    from cxrbench.leaderboard.cells import Look, Spread
    from cxrbench.leaderboard.columns.aggregated import read
    from cxrbench.leaderboard.display import encoders_of, read_names, shown_names
    from cxrbench.leaderboard.published.matching import beside
    from cxrbench.leaderboard.shown.by_label import check_labels
    from cxrbench.leaderboard.tables import build

    chosen("--spread", Spread, spread)
    check_draws(replicates, seed)
    check_type("rope", rope, float)
    look = Look(read_names(separate(names, "names")), tuple(separate(labels, "labels")), spread)
    found = saved_cells(results, saved_names(tasks, "tasks"), cache, aggregates=True)

    meant, wanted = saved_names(tasks, "tasks"), tuple(separate(metrics, "metrics"))
    with bar("evaluating") as advance:
        board = build(
            found.predictions,
            baseline=baseline,
            replicates=replicates,
            seed=seed,
            rope=rope,
            tasks=meant,
            metrics=wanted or None,
            efficiency=found.store.load_efficiency(found.predictions),
            not_applicable=found.not_applicable,
            aggregates=[read(one, replicates) for one in found.aggregates],
            kept=kept_in(cache),
            advance=advance,
        )
    shown_names(encoders_of(board), look.names)  # a name or a label that is not there is told now, not when printed
    check_labels(board, look.labels)
    sources = BoardSources(results, meant, baseline, wanted, replicates, seed, cache, bar, cells_of(found.predictions))
    printed = beside(board) if published else None
    return Leaderboard(board, look, sources=sources, published=printed)


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
    cache: Path | str | None = None,
    bar: Bar = unseen,
) -> Grouped:
    """Encoders within groups of patients: values, intervals, tests, the worst group and its gap to the best.

    ``by``: sex, age, view, site or scanner, as the manifests beside the results know them. Of classification
    and regression; ``metrics``: default each task's headline. The rest as of ``leaderboard``. Raises UserError.
    """
    from cxrbench.data.attributes import check_ways, group_of
    from cxrbench.engine.settings import names as separate
    from cxrbench.leaderboard.display import read_names
    from cxrbench.leaderboard.subgroups.evaluate import by_group

    check_ways((by,))
    check_draws(replicates, seed)
    called = read_names(separate(names, "names"))
    saved = saved_cells(results, saved_names(tasks, "tasks"), cache)
    wanted = [one.cell for one in saved.predictions if len(one.rows)]
    datasets = {(str(cell["dataset"]), str(cell.get("parts", {}).get("dataset", ""))) for cell in wanted}
    manifests = {digest: saved.store.manifest_of(name, digest) for name, digest in sorted(datasets)}
    with bar("evaluating") as advance:
        found = by_group(
            saved.predictions,
            {digest: group_of(manifest, by) for digest, manifest in manifests.items() if manifest is not None},
            by,
            baseline=baseline,
            tasks=saved_names(tasks, "tasks"),
            metrics=tuple(separate(metrics, "metrics")) or None,
            replicates=replicates,
            seed=seed,
            kept=kept_in(cache),
            advance=advance,
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
    cache: Path | str | None = None,
    bar: Bar = unseen,
) -> Compared:
    """Is encoder ``a`` better than ``b``? Differences, 90% intervals and one-tailed p per task and label.

    ``results``: a folder, or what ``cxrbench.run`` gave. ``metrics``: default each task's headline. ``margin``: a
    difference that does not matter, for tests of non-inferiority and equivalence. ``names``: ``ENCODER=NAME``, what
    Markdown calls an encoder. ``cache``, ``bar``: as of ``leaderboard``. Raises UserError.
    """
    from cxrbench.engine.settings import names as separate
    from cxrbench.leaderboard.comparison.compare import compare
    from cxrbench.leaderboard.display import read_names

    check_draws(replicates, seed)
    check_type("margin", margin, float | None)
    called = read_names(separate(names, "names"))
    predictions = saved_cells(results, saved_names(tasks, "tasks"), cache).predictions
    with bar("evaluating") as advance:
        comparison = compare(
            predictions, a, b, tasks=saved_names(tasks, "tasks"), metrics=tuple(separate(metrics, "metrics")) or None,
            replicates=replicates, seed=seed, margin=margin, kept=kept_in(cache), advance=advance,
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
    bar: Bar = unseen,
) -> Calibrated:
    """Brier score and its parts, ECE and log loss, before and after recalibration on validation images.

    Reads saved classification predictions; nothing is trained again. ``tasks``: ``DATASET[:PROTOCOL]``; ``encoders``:
    as the leaderboard names them (default: all of both); ``names``: ``ENCODER=NAME``, what Markdown calls an encoder;
    ``bar``: as of ``leaderboard``. Raises UserError.

    Example::

        print(cxrbench.calibration("results", encoders=["imagenet", "random"]))
    """
    for method in methods:
        chosen("--method", Recalibration, method)
    check_draws(replicates, seed)
    from cxrbench.engine.settings import names as separate
    from cxrbench.leaderboard.calibration.report import calibration
    from cxrbench.leaderboard.calibration.variants import variants
    from cxrbench.leaderboard.display import read_names

    called = read_names(separate(names, "names"))
    of_tasks = variants(
        saved_cells(results, saved_names(tasks, "tasks")).predictions,
        tasks=saved_names(tasks, "tasks"),
        encoders=tuple(separate(encoders, "encoders")) or None,
        methods=methods,
    )
    with bar("evaluating") as advance:
        report = calibration(of_tasks, replicates=replicates, seed=seed, advance=advance)
    return Calibrated(report, of_tasks, called)


def check_draws(replicates: int, seed: int) -> None:
    """Raise UserError for what cannot be drawn."""
    check_whole("replicates", replicates, FEWEST)
    check_whole("seed", seed, 0)
