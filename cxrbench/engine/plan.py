"""What a run would do: its cells, and for each whether it is done, missing, stale, damaged or blocked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Encoder, EncoderSpec, Preprocess, StoredEncoder
from cxrbench.engine.asked.given import Given
from cxrbench.engine.budgets.asked import Budget
from cxrbench.engine.elsewhere.joined import Joined
from cxrbench.engine.headers.header import ReadHeader
from cxrbench.engine.names import TOGETHER
from cxrbench.engine.questions import Question, questions
from cxrbench.engine.registry import load_dataset, load_encoder
from cxrbench.engine.results import Results
from cxrbench.errors import UserError
from cxrbench.features import pooled as features
from cxrbench.plugins import memo
from cxrbench.plugins.fixed_images import FixedFeatures
from cxrbench.plugins.listing import every_encoder
from cxrbench.task import Cell, Task, TaskOptions

if TYPE_CHECKING:
    from torch import nn

    from cxrbench.plugins.loading import LoadedEncoder

T = TypeVar("T")
CACHE_LIMIT = 20 * 10**9
ALL = "all"  # in place of encoders: every one that needs nothing more than its name


@dataclass(frozen=True)
class RunRequest:
    """What the user asked for.

    ``tasks``: (dataset, protocol, or None for all that the dataset can serve and that are not opt-in). ``train``: the
    datasets to train on, where these are not those that are tested on; a dataset of the tasks may then be ``all``, the
    test sets of all of them together. ``budgets``: what is trained on, instead of label fractions of whole
    patients. ``folds``: run trained tasks by cross-validation. ``cache_limit``: bytes that
    dense maps may take on disk. ``cache``: where what is known of encoders and datasets is kept, so that they need not
    be built and read to be planned; None: nowhere. ``given``: the encoders and datasets that are objects; ``encoders``
    and ``tasks`` have their names.
    """

    encoders: tuple[str, ...]
    tasks: tuple[tuple[str, str | None], ...]
    data: Path | None
    phantom: Callable[[str], Path]
    results: Results
    precision: str
    fractions: tuple[float, ...] = (1.0,)
    budgets: tuple[Budget, ...] = ()
    seeds: int = 1
    skip_bad: bool = False
    task_options: TaskOptions = field(default_factory=TaskOptions)
    folds: int | None = None
    train: tuple[str, ...] = ()
    cache_limit: int = CACHE_LIMIT
    cache: Path | None = None
    given: Given = field(default_factory=Given)


@dataclass(frozen=True)
class EncoderRef:
    """An encoder's identity, its weights not in memory; ``load`` brings the module back.

    ``given``: the module itself, of an encoder that is an object: ``load`` gives a copy.
    ``stored``: its features lie in a file (StoredEncoder), so there is nothing to show the fixed images to.
    """

    spec: EncoderSpec
    preprocess: Preprocess
    synthetic: bool
    fixed: FixedFeatures | None = None
    configuration: Mapping[str, str] = field(default_factory=dict, repr=False)
    cache: Path | None = None
    given: "nn.Module | None" = None
    stored: bool = False

    def load(self) -> Encoder:
        """Build the module again. Raises UserError if it is no longer the same one."""
        loaded = _built(self.spec.name, self.synthetic, self.given)
        then = self.spec.parts
        changed = [name for name, now in loaded.spec.parts.items() if now != then[name]]
        if changed:
            if self.cache is not None:
                memo.forget(self.cache, self.spec.name, synthetic=self.synthetic)
            raise UserError(
                f"encoder {self.spec.name} is not the same when it is built again ({', '.join(changed)}"
                f"{self._attributes(loaded.configuration)}): run again if its files were being edited; "
                "else give what is random in it a seed, and its attributes values that do not change by themselves"
            )
        return loaded.module

    def _attributes(self, now: Mapping[str, str]) -> str:
        """Which attributes have changed, where that is known: the first three."""
        before = self.configuration
        names = [name for name in sorted({*now, *before}) if before and now.get(name) != before.get(name)]
        return f": {', '.join(names[:3])}" if names else ""


@dataclass(frozen=True)
class PlannedCell:
    """A cell and its state; ``reason`` says why it is stale, damaged, blocked (no encoder or manifest) or not
    applicable. ``manifest``: what is tested on; ``joined``: with what is trained on, where that is not the same.
    """

    cell: Cell
    state: Literal["done", "missing", "stale", "damaged", "not applicable", "blocked"]
    reason: str = ""
    task: Task | None = None
    encoder: EncoderRef | None = None
    manifest: Manifest | None = None
    joined: Joined | None = None


@dataclass(frozen=True)
class Plan:
    """The cells in the order of execution (encoder by encoder), and remarks on what does not apply."""

    cells: tuple[PlannedCell, ...]
    remarks: tuple[str, ...] = ()


def make_plan(request: RunRequest) -> Plan:
    """Look at the data, the encoders and the results folder. Reads no image; shows encoders only the two fixed ones.

    Data or encoders that are absent become ``blocked`` cells; unknown protocols raise UserError.
    """
    manifests: dict[str, Manifest | UserError] = {}
    for dataset in (*(dataset for dataset, _ in request.tasks), *request.train):
        if dataset not in manifests and not (request.train and dataset == TOGETHER):
            manifests[dataset] = _caught(lambda name=dataset: _dataset(request, name))
    _refuse_same_names(manifests)
    asked, remarks = questions(
        request.tasks, manifests, request.task_options, folds=request.folds, train=request.train,
        budgets=request.budgets,
    )  # fmt: skip
    synthetic = all(m.synthetic for m in manifests.values() if isinstance(m, Manifest))
    encoders = [e for name in request.encoders for e in (every_encoder(synthetic=synthetic) if name == ALL else [name])]
    refs: dict[tuple[str, bool], EncoderRef | UserError] = {}
    cells, headers = [], request.results.headers(request.cache)
    for encoder in dict.fromkeys(encoders):
        for (dataset, *_), question in asked.items():
            manifest = question.manifest
            if isinstance(manifest, UserError):
                cell = Cell(encoder, dataset, question.task.protocol)
                cells.append(PlannedCell(cell, "blocked", str(manifest)))
                continue
            wanted = (encoder, manifest.synthetic)
            if wanted not in refs:
                refs[wanted] = _caught(lambda e=encoder, m=manifest: _resolve(e, m.synthetic, request))
            cells += _column(request, encoder, refs[wanted], manifest, question, headers)
    headers.keep()
    return Plan(tuple(cells), remarks)


def _column(
    request: RunRequest,
    encoder: str,
    ref: EncoderRef | UserError,
    manifest: Manifest,
    question: Question,
    headers: ReadHeader,
) -> list[PlannedCell]:
    """The cells of one encoder on one task: every label fraction, and every seed where seeds matter."""
    task, joined = question.task, question.joined
    if isinstance(ref, UserError):
        return [PlannedCell(Cell(encoder, manifest.name, task.protocol), "blocked", str(ref))]
    parts = {
        **ref.spec.parts,
        "precision": request.precision,
        "feature format": features.FORMAT,
        "dataset": manifest.fingerprint,
        "protocol version": task.version,
        **({} if joined is None else {"training data": joined.fingerprint}),
    }
    planned = []
    for fraction in request.fractions:
        for seed in range(request.seeds if task.seeds_matter(fraction) else 1):
            cell = Cell(encoder, manifest.name, task.protocol, fraction, seed, parts, ref.fixed)
            state, reason = request.results.state(cell, allow_dropped=request.skip_bad, header_at=headers)
            planned.append(PlannedCell(cell, state, reason, task, ref, manifest, joined))
    return planned


def _dataset(request: RunRequest, name: str) -> Manifest:
    if name in request.given.datasets:
        return request.given.datasets[name]
    return load_dataset(name, request.data, lambda: request.phantom(name), cache=request.cache)


def _resolve(encoder: str, synthetic: bool, request: RunRequest) -> EncoderRef:
    """Who an encoder is and what it gives for the fixed images: remembered, else by building it. Raises UserError."""
    cache, given = request.cache, request.given.encoders.get(encoder)
    known = memo.recall(cache, encoder, synthetic=synthetic) if cache is not None and given is None else None
    if known is not None:
        return EncoderRef(known.spec, known.preprocess, synthetic, known.fixed, cache=cache)
    from cxrbench.plugins.loading import fixed_features

    loaded = _built(encoder, synthetic, given)
    if isinstance(loaded.module, StoredEncoder):
        return EncoderRef(loaded.spec, loaded.module.preprocess, synthetic, stored=True)
    fixed = fixed_features(loaded)
    if cache is not None and given is None:
        memo.remember(cache, loaded, fixed, synthetic=synthetic)
    preprocess = loaded.module.preprocess
    return EncoderRef(loaded.spec, preprocess, synthetic, fixed, loaded.configuration, cache, given)


def _built(encoder: str, synthetic: bool, given: "nn.Module | None") -> "LoadedEncoder":
    """The encoder of a spec, or a copy of the module that has this name. Raises UserError."""
    if given is None:
        return load_encoder(encoder, synthetic=synthetic)
    from cxrbench.plugins.given import load_given

    return load_given(encoder, given)


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
