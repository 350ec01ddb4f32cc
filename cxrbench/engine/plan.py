"""What a run would do: its cells, and for each whether it is done, missing, stale or blocked."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Encoder, EncoderSpec, Preprocess
from cxrbench.engine.folds import Folded
from cxrbench.engine.registry import every_encoder, list_tasks, load_dataset, load_encoder, load_task
from cxrbench.engine.results import Results
from cxrbench.errors import NotApplicableError, UserError
from cxrbench.features import pooled as features
from cxrbench.task import Adapts, Cell, Task, TaskOptions

T = TypeVar("T")
CACHE_LIMIT = 20 * 10**9
ALL = "all"  # in place of encoders: every one that needs nothing more than its name


@dataclass(frozen=True)
class RunRequest:
    """What the user asked for.

    ``tasks``: (dataset, protocol, or None for all that the dataset can serve and that are not opt-in). ``folds``: run
    trained tasks by cross-validation. ``cache_limit``: bytes that dense maps may take on disk. ``cache``: where
    manifests are kept; None: nowhere.
    """

    encoders: tuple[str, ...]
    tasks: tuple[tuple[str, str | None], ...]
    data: Path | None
    phantom: Callable[[], Path]
    results: Results
    precision: str
    fractions: tuple[float, ...] = (1.0,)
    seeds: int = 1
    skip_bad: bool = False
    task_options: TaskOptions = field(default_factory=TaskOptions)
    folds: int | None = None
    cache_limit: int = CACHE_LIMIT
    cache: Path | None = None


@dataclass(frozen=True)
class EncoderRef:
    """An encoder's identity, its weights not in memory; ``load`` brings the module back."""

    spec: EncoderSpec
    preprocess: Preprocess
    synthetic: bool

    def load(self) -> Encoder:
        """Build the module again. Raises UserError if it is no longer the same one."""
        loaded = load_encoder(self.spec.name, synthetic=self.synthetic)
        fields = ("weights_sha256", "source_sha256", "preprocess", "variant")
        changed = [name for name in fields if getattr(loaded.spec, name) != getattr(self.spec, name)]
        if changed:
            raise UserError(
                f"encoder {self.spec.name} changed on disk ({', '.join(changed)}) during the run: run again"
            )
        return loaded.module


@dataclass(frozen=True)
class PlannedCell:
    """A cell and its state; ``reason`` says why it is stale, blocked (no encoder or manifest) or not applicable."""

    cell: Cell
    state: Literal["done", "missing", "stale", "not applicable", "blocked"]
    reason: str = ""
    task: Task | None = None
    encoder: EncoderRef | None = None
    manifest: Manifest | None = None


@dataclass(frozen=True)
class Plan:
    """The cells in the order of execution (encoder by encoder), and remarks on what does not apply."""

    cells: tuple[PlannedCell, ...]
    remarks: tuple[str, ...] = ()


def make_plan(request: RunRequest) -> Plan:
    """Look at the data, the encoders and the results folder. Reads no image and runs no encoder.

    Data or encoders that are absent become ``blocked`` cells; unknown protocols raise UserError.
    """
    manifests: dict[str, Manifest | UserError] = {}
    for dataset, _ in request.tasks:
        if dataset not in manifests:
            manifests[dataset] = _caught(lambda name=dataset: _dataset(request, name))
    _refuse_same_names(manifests)
    columns, remarks = _columns(request, manifests)
    synthetic = all(m.synthetic for m in manifests.values() if isinstance(m, Manifest))
    encoders = [e for name in request.encoders for e in (every_encoder(synthetic=synthetic) if name == ALL else [name])]
    refs: dict[tuple[str, bool], EncoderRef | UserError] = {}
    cells = []
    for encoder in dict.fromkeys(encoders):
        for (dataset, _), (task, manifest) in columns.items():
            if isinstance(manifest, UserError):
                cell = Cell(encoder, dataset, task.protocol)
                cells.append(PlannedCell(cell, "blocked", str(manifest)))
                continue
            wanted = (encoder, manifest.synthetic)
            if wanted not in refs:
                refs[wanted] = _caught(lambda e=encoder, m=manifest: _resolve(e, m.synthetic))
            cells += _column(request, encoder, refs[wanted], manifest, task)
    return Plan(tuple(cells), remarks)


def _columns(
    request: RunRequest, manifests: dict[str, Manifest | UserError]
) -> tuple[dict[tuple[str, str], tuple[Task, Manifest | UserError]], tuple[str, ...]]:
    """By (dataset, protocol) the tasks as the options want them and the datasets as the tasks want them, and what a
    dataset cannot be asked.
    """
    columns: dict[tuple[str, str], tuple[Task, Manifest | UserError]] = {}
    remarks: list[str] = []
    for dataset, protocol in request.tasks:
        refused: list[str] = []
        for name in [protocol] if protocol else [listing.name for listing in list_tasks() if not listing.problem]:
            task = load_task(name)
            if protocol is None and task.opt_in:
                continue
            task = task.configured(request.task_options)
            manifest, reason = _adapted(task, manifests[dataset])
            if request.folds and not task.sees_test_truth:
                task = Folded(task, request.folds)
            if isinstance(manifest, Manifest):
                reason = reason or task.not_applicable(manifest)
            if reason:
                refused.append(f"{name} ({reason})")
            else:
                columns[(dataset, name)] = (task, manifest)
        if refused:
            remarks.append(f"{dataset} cannot serve: {', '.join(refused)}")
    return columns, tuple(remarks)


def _adapted(task: Task, manifest: Manifest | UserError) -> tuple[Manifest | UserError, str | None]:
    """The dataset as the task wants it, or why it cannot be made so."""
    if not isinstance(manifest, Manifest) or not isinstance(task, Adapts):
        return manifest, None
    try:
        return task.adapted(manifest), None
    except NotApplicableError as refusal:
        return manifest, str(refusal)


def _column(
    request: RunRequest, encoder: str, ref: EncoderRef | UserError, manifest: Manifest, task: Task
) -> list[PlannedCell]:
    """The cells of one encoder on one task: every label fraction, and every seed where seeds matter."""
    if isinstance(ref, UserError):
        return [PlannedCell(Cell(encoder, manifest.name, task.protocol), "blocked", str(ref))]
    parts = {
        "encoder weights": ref.spec.weights_sha256,
        "encoder source": ref.spec.source_sha256,
        "encoder variant": ref.spec.variant,
        "preprocessing": ref.spec.preprocess,
        "precision": request.precision,
        "feature format": features.FORMAT,
        "dataset": manifest.fingerprint,
        "protocol version": task.version,
    }
    planned = []
    for fraction in request.fractions:
        for seed in range(request.seeds if task.seeds_matter(fraction) else 1):
            cell = Cell(encoder, manifest.name, task.protocol, fraction, seed, parts)
            state, reason = request.results.state(cell, allow_dropped=request.skip_bad)
            planned.append(PlannedCell(cell, state, reason, task, ref, manifest))
    return planned


def _dataset(request: RunRequest, name: str) -> Manifest:
    return load_dataset(name, request.data, request.phantom, cache=request.cache)


def _resolve(encoder: str, synthetic: bool) -> EncoderRef:
    loaded = load_encoder(encoder, synthetic=synthetic)
    return EncoderRef(loaded.spec, loaded.module.preprocess, synthetic)


def _caught(call: Callable[[], T]) -> T | UserError:
    """The call's result, or the user's mistake that it met."""
    try:
        return call()
    except UserError as error:
        return error


def _refuse_same_names(manifests: dict[str, Manifest | UserError]) -> None:
    """Two datasets of one name would overwrite each other's results."""
    seen: dict[str, str] = {}
    for text, manifest in manifests.items():
        if isinstance(manifest, Manifest):
            if manifest.name in seen:
                raise UserError(f"{seen[manifest.name]} and {text} are both called {manifest.name!r}: rename one")
            seen[manifest.name] = text
