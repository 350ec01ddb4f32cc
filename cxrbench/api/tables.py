"""What saved predictions say: the leaderboard, a comparison of two encoders, calibration. No image, no model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from cxrbench.errors import chosen

if TYPE_CHECKING:
    from cxrbench.leaderboard.calibration.report import CalibrationReport, Variants

Form = Literal["md", "csv", "json"]
Recalibration = Literal["temperature", "isotonic"]


def board(
    results: Path | str = "results",
    *,
    tasks: str | Sequence[str] = (),
    baseline: str | None = None,
    metrics: str | Sequence[str] = (),
    replicates: int = 10_000,
    seed: int = 0,
    rope: float = 0.01,
    names: str | Sequence[str] = (),
    labels: str | Sequence[str] = (),
    spread: Literal["interval", "sd"] = "interval",
    form: Form = "md",
) -> str:
    """The leaderboard of a results folder as text: values, 95% intervals, tests against a baseline, tie groups.

    ``tasks``: ``DATASET[:PROTOCOL]`` as in a run, ``./labels.csv`` too (default: all). ``metrics``: the first that a
    task has is its headline (default: all). ``rope``: a difference to the baseline that does not matter, of metrics in
    [0, 1], for what is said over five data sets or more. ``names``: ``ENCODER=NAME``, what Markdown calls an encoder.
    ``labels``: those that Markdown has a table of, per task: names, ``all``, or ``top:K``, the most frequent.
    ``spread``: beside a value stands its interval, or the SD over training seeds or folds. Raises UserError.
    """
    chosen("--format", Form, form)
    from cxrbench.engine.results import Results
    from cxrbench.engine.settings import names as separate
    from cxrbench.leaderboard.cells import Look, Spread
    from cxrbench.leaderboard.display import read_names
    from cxrbench.leaderboard.markdown import to_markdown
    from cxrbench.leaderboard.render import to_csv, to_json
    from cxrbench.leaderboard.tables import build

    chosen("--spread", Spread, spread)
    look = Look(read_names(separate(names, "names")), tuple(separate(labels, "labels")), spread)
    store = Results(Path(results))
    predictions = store.load_predictions(_tasks(tasks) or ())
    table = build(
        predictions,
        baseline=baseline,
        replicates=replicates,
        seed=seed,
        rope=rope,
        tasks=_tasks(tasks),
        metrics=tuple(separate(metrics, "metrics")) or None,
        efficiency=store.load_efficiency(predictions),
        not_applicable=store.load_not_applicable(),
    )
    return to_markdown(table, look) if form == "md" else {"csv": to_csv, "json": to_json}[form](table)


def by_group(
    by: str,
    results: Path | str = "results",
    *,
    tasks: str | Sequence[str] = (),
    baseline: str | None = None,
    metrics: str | Sequence[str] = (),
    replicates: int = 10_000,
    seed: int = 0,
    names: str | Sequence[str] = (),
    form: Form = "md",
) -> str:
    """Encoders within groups of patients, as text: values, intervals, tests, the worst group and its gap to the best.

    ``by``: sex, age, view, site or scanner, as the manifests beside the results know them. Classification only. The
    rest as of ``board``; ``metrics``: default each task's headline. Raises UserError.
    """
    chosen("--format", Form, form)
    from cxrbench.data.attributes import group_of
    from cxrbench.engine.results import Results
    from cxrbench.engine.settings import names as separate
    from cxrbench.leaderboard.display import read_names
    from cxrbench.leaderboard.subgroups import tables
    from cxrbench.leaderboard.subgroups.evaluate import by_group

    called = read_names(separate(names, "names"))
    store = Results(Path(results))
    predictions = store.load_predictions(_tasks(tasks) or ())
    wanted = [one.cell for one in predictions if len(one.rows)]
    datasets = {(str(cell["dataset"]), str(cell.get("parts", {}).get("dataset", ""))) for cell in wanted}
    kept = {digest: store.manifest_of(name, digest) for name, digest in sorted(datasets)}
    found = by_group(
        predictions,
        {digest: group_of(manifest, by) for digest, manifest in kept.items() if manifest is not None},
        by,
        baseline=baseline,
        tasks=_tasks(tasks),
        metrics=tuple(separate(metrics, "metrics")) or None,
        replicates=replicates,
        seed=seed,
    )
    if form == "md":
        return tables.to_markdown(found, called)
    return {"csv": tables.to_csv, "json": tables.to_json}[form](found)


def compare(
    a: str,
    b: str,
    *,
    results: Path | str = "results",
    tasks: str | Sequence[str] = (),
    metrics: str | Sequence[str] = (),
    replicates: int = 10_000,
    seed: int = 0,
    margin: float | None = None,
    names: str | Sequence[str] = (),
    form: Literal["md", "json"] = "md",
) -> str:
    """Is encoder ``a`` better than ``b``? Differences, 90% intervals and one-tailed p per task and label, as text.

    ``metrics``: default each task's headline. ``margin``: a difference that does not matter, for tests of
    non-inferiority and equivalence. ``names``: ``ENCODER=NAME``, what Markdown calls an encoder. Raises UserError.
    """
    chosen("form", Literal["md", "json"], form)
    from cxrbench.engine.results import Results
    from cxrbench.engine.settings import names as separate
    from cxrbench.leaderboard.compare import compare, comparison_to_json, comparison_to_markdown
    from cxrbench.leaderboard.display import read_names

    called = read_names(separate(names, "names"))
    comparison = compare(
        Results(Path(results)).load_predictions(_tasks(tasks) or ()), a, b, tasks=_tasks(tasks),
        metrics=tuple(separate(metrics, "metrics")) or None, replicates=replicates, seed=seed, margin=margin,
    )  # fmt: skip
    return comparison_to_json(comparison) if form == "json" else comparison_to_markdown(comparison, called)


@dataclass(frozen=True)
class Calibrated:
    """Calibration of the encoders of a results folder, as given and recalibrated. Printed as Markdown.

    ``report.records``: one per encoder, task, method, metric and label. ``variants``: the scores themselves, by task.
    ``names``: what Markdown calls an encoder.
    """

    report: "CalibrationReport"
    variants: "Sequence[Variants]"
    names: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text()

    def text(self, form: Form = "md") -> str:
        """The report as Markdown, CSV (a row per record) or JSON. Raises UserError."""
        chosen("--format", Form, form)
        from cxrbench.leaderboard.calibration.tables import to_csv, to_json, to_markdown

        if form == "md":
            return to_markdown(self.report, self.names)
        return {"csv": to_csv, "json": to_json}[form](self.report)

    def draw(self, folder: Path) -> list[Path]:
        """Write reliability diagrams (PNG), one per task and label, into a folder; returns the files written."""
        from cxrbench.leaderboard.calibration.reliability import draw

        return draw(self.variants, folder)


def calibration(
    results: Path | str = "results",
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
    from cxrbench.engine.results import Results
    from cxrbench.engine.settings import names as separate
    from cxrbench.leaderboard.calibration.report import calibration, variants
    from cxrbench.leaderboard.display import read_names

    called = read_names(separate(names, "names"))
    of_tasks = variants(
        Results(Path(results)).load_predictions(_tasks(tasks) or ()),
        tasks=_tasks(tasks),
        encoders=tuple(separate(encoders, "encoders")) or None,
        methods=methods,
    )
    return Calibrated(calibration(of_tasks, replicates=replicates, seed=seed), of_tasks, called)


def _tasks(given: str | Sequence[str]) -> tuple[str, ...] | None:
    """Tasks as results name them; None where none was named."""
    from cxrbench.engine.registry import saved_task
    from cxrbench.engine.settings import names

    return tuple(map(saved_task, names(given, "tasks"))) or None
