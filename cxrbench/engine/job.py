"""A run as a whole: what was asked, checked and planned (``prepare``), and doing it (``Job.execute``)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from cxrbench.cores import cores
from cxrbench.engine.asked.given import Given
from cxrbench.engine.asked.requests import Request, requested, save_request
from cxrbench.engine.budgets.asked import budgets
from cxrbench.engine.execute import TODO, Failed, Finished, Inapplicable, execute
from cxrbench.engine.folds import MIN_FOLDS
from cxrbench.engine.importing import importing
from cxrbench.engine.names import TOGETHER, refuse_wrong_names
from cxrbench.engine.options import unread_options
from cxrbench.engine.plan import CACHE_LIMIT, Plan, RunRequest, make_plan
from cxrbench.engine.registry import load_dataset, load_task, parse_tasks
from cxrbench.engine.results import Results
from cxrbench.engine.settings import Settings, checked_settings, names
from cxrbench.errors import DiskError, NotApplicableError, OnBadImage, UserError, chosen
from cxrbench.features.device import chosen_device, resolve_device, resolve_precision
from cxrbench.files.folders import cache_folder
from cxrbench.plugins.listing import list_tasks
from cxrbench.progress import Progress
from cxrbench.task import Task, TaskOptions

if TYPE_CHECKING:
    from cxrbench.features.extract import ExtractOptions


@dataclass(frozen=True)
class Job:
    """What a run would do (``plan``), and doing it. ``remarks``: what does not apply, and what is not read."""

    request: RunRequest
    plan: Plan
    remarks: tuple[str, ...]
    cache: Path
    device: str
    batch_size: int
    workers: int
    max_pixels: int | None
    asked: Request

    def execute(
        self, progress: Progress, *, fail_fast: bool = False, retries: int = 0
    ) -> Iterator[Finished | Inapplicable | Failed]:
        """Compute what is missing or stale, cell by cell, as ``engine.execute`` does; if nothing is, without torch.

        What was asked is kept in the results folder, unless nothing that was asked can be had.
        """
        states = {planned.state for planned in self.plan.cells}
        todo = bool(states & set(TODO))
        if states - {"blocked"}:
            self.keep_asked()
        options: Any = self.extraction() if todo else None  # who has nothing to compute does not look at them
        yield from execute(self.plan, self.request, self.cache, options, progress, fail_fast=fail_fast, retries=retries)

    def keep_asked(self) -> None:
        """Keep what was asked in the results folder; a finished one may be one that cannot be written to.

        Raises DiskError where there is something to compute.
        """
        todo = any(planned.state in TODO for planned in self.plan.cells)
        with nullcontext() if todo else suppress(DiskError):
            save_request(self.request.results.root, self.asked)

    def extraction(self) -> "ExtractOptions":
        """How encoders are run over images."""
        from cxrbench.data.decode.images import MAX_PIXELS
        from cxrbench.features.extract import ExtractOptions

        precision: Any = self.request.precision
        device = resolve_device(self.device)
        return ExtractOptions(device, precision, self.batch_size, self.workers, self.max_pixels or MAX_PIXELS)


def prepare(
    encoders: str | Sequence[str],
    tasks: str | Sequence[str],
    *,
    dry_run: bool,
    progress: Progress,
    objects: Given | None = None,
    **given: Unpack[Settings],
) -> Job:
    """Look at names, options, data and the results folder, in this order, and plan. No image is read.

    ``dry_run``: the plan is all that is wanted, so a phantom that is not there is not drawn. ``objects``: encoders and
    datasets that are no names; ``encoders`` and ``tasks`` say what they are called. Raises UserError for what can be
    known to be wrong by now.
    """
    settings = checked_settings(given)
    bad, workers = settings.get("on_bad_image", "error"), settings.get("workers", 0)
    chosen("--on-bad-image", OnBadImage, bad)
    specs = names(encoders, "encoders")
    if not specs:
        raise UserError("--encoder names no encoder: try --encoder imagenet, or `cxrbench encoders list`")
    asked = parse_tasks(tasks if isinstance(tasks, str) else ",".join(names(tasks, "tasks")))
    data = settings.get("data")
    options, train, objects = _checked_options(settings), settings.get("train", ()), objects or Given()
    refuse_wrong_names(specs, asked, data, train, objects)
    fractions = _checked_fractions(settings.get("fractions") or (1.0,))
    named = dict.fromkeys([*train, *(name for name, _ in asked if not (train and name == TOGETHER))])
    datasets = tuple(name for name in named if name not in objects.datasets)
    cache, device = cache_folder(settings.get("cache")), chosen_device(settings.get("device", "auto"))
    request = RunRequest(
        encoders=tuple(dict.fromkeys(specs)),
        tasks=tuple(asked),
        data=data,
        phantom=lambda dataset: (
            _plan_phantom(cache, dataset) if dry_run else _phantom(cache, datasets, specs, progress)
        ),
        results=Results(settings.get("results", Path("results"))),
        precision=resolve_precision(settings.get("precision", "auto"), device),
        fractions=fractions,
        budgets=budgets(settings.get("budget"), settings.get("budget_unit"), fractions),
        seeds=settings.get("seeds") or 1,
        skip_bad=bad == "skip",
        task_options=options,
        folds=_checked_folds(settings.get("folds")),
        train=train,
        cache_limit=settings.get("cache_limit", CACHE_LIMIT),
        cache=cache,
        given=objects,
    )
    unread = partial(
        unread_options,
        options,
        installed=lambda: _loadable([line.name for line in list_tasks()]),
        folds=request.folds,
        seeds=1 if options.preset else request.seeds,  # a paper's own are for whom they concern
        fractions=request.fractions,
        budgets=request.budgets,
    )
    candidates = _candidates(asked, options)
    if train:
        _refuse_at_home(candidates, asked, options)
    unread(candidates)  # before any data is read or drawn for it
    plan = make_plan(request)
    if not plan.cells:
        raise UserError(f"there is nothing to run: {'; '.join(plan.remarks)}")
    remarks = unread([planned.task for planned in plan.cells if planned.task is not None])
    remarks = [*plan.remarks, *remarks, *assumptions(plan), *_undrawn(plan)]
    return Job(
        request, plan, tuple(remarks), cache, device, settings.get("batch_size", 64),
        workers or min(cores(), 16), settings.get("max_pixels"),
        requested(request.encoders, [t if p is None else f"{t}:{p}" for t, p in asked], settings,
            [*objects.encoders, *objects.datasets]),
    )  # fmt: skip


def _plan_phantom(cache: Path, dataset: str) -> Path:
    """For a plan alone nothing is drawn."""
    from cxrbench.phantom.write import folder_for_plan

    return folder_for_plan(cache, dataset)


def _phantom(cache: Path, datasets: Sequence[str], encoders: Sequence[str], progress: Progress) -> Path:
    """The phantom's data folder with all datasets of this run.

    While others draw, this process imports and builds the encoders, and reads the datasets that are drawn already.
    """
    from cxrbench.phantom.write import ensure, is_drawn

    def advance(done: int, total: int) -> None:
        progress.train("phantom images", done, total)

    if is_drawn(cache, datasets):
        return ensure(cache, datasets, progress=advance)
    with importing(encoders, cache) as submit:

        def read(folder: Path) -> None:
            submit(lambda: load_dataset(folder.name, folder.parent, lambda: folder.parent, cache=cache))

        return ensure(cache, datasets, progress=advance, drawn=read)


def assumptions(plan: Plan) -> list[str]:
    """A remark on each encoder of which something had to be taken for granted."""
    specs = {p.encoder.spec.name: p.encoder.spec for p in plan.cells if p.encoder is not None}
    return [f"{name}: {what}" for name, spec in specs.items() for what in spec.card.assumed]


def _undrawn(plan: Plan) -> list[str]:
    """A remark on each dataset of whose cells only its phantom, once drawn, can tell that they are not stale."""
    stale = {
        p.manifest.name: p.manifest.root
        for p in plan.cells
        if p.state == "stale" and p.manifest is not None and p.manifest.synthetic
    }
    if not stale:
        return []
    from cxrbench.phantom.write import is_blank

    return [
        f"{name}: its phantom is not drawn, so that all results on it look stale; a run draws it and compares again"
        for name, root in stale.items()
        if is_blank(root)
    ]


def _candidates(asked: Sequence[tuple[str, str | None]], options: TaskOptions) -> list[Task]:
    """Every protocol that may be planned, as the options want it, before it is known what the datasets can be asked.

    What a protocol reads may depend on the options: a preset makes another classifier of it.
    """
    named = {protocol for _, protocol in asked if protocol is not None}
    usual = {line.name for line in list_tasks() if not line.opt_in} if any(p is None for _, p in asked) else set()
    candidates = _loadable(sorted(named | usual))
    for i, task in enumerate(candidates):
        with suppress(UserError, NotApplicableError):  # the plan says why not
            candidates[i] = task.configured(options)
    return candidates


def _refuse_at_home(candidates: Sequence[Task], asked: Sequence[tuple[str, str | None]], options: TaskOptions) -> None:
    """Raise UserError for what cannot be said beside ``--train``: a preset of a paper that trains on one dataset, or a
    protocol that was named.
    """
    if options.preset is not None and not any(task.elsewhere for task in candidates):
        raise UserError(
            f"--train with --preset {options.preset}: a paper's recipe says what it trains on: leave one out"
        )
    able = ", ".join(sorted(task.name for task in _loadable([line.name for line in list_tasks()]) if task.elsewhere))
    named = {protocol for _, protocol in asked}
    for task in candidates:
        if task.name in named and not task.elsewhere:
            raise UserError(f"--train: {task.name} is trained and tested on one dataset only; name one of {able}")


def _loadable(names: Sequence[str]) -> list[Task]:
    tasks = []
    for name in names:
        with suppress(UserError):  # the plan says what is wrong with it
            tasks.append(load_task(name))
    return tasks


def _checked_fractions(fractions: Sequence[float]) -> tuple[float, ...]:
    """Each once, in ascending order."""
    if not all(0 < value <= 1 for value in fractions):
        given = ",".join(f"{value:g}" for value in fractions)
        raise UserError(f"--fractions {given}: a label fraction lies above 0 and is at most 1")
    return tuple(sorted(set(fractions)))


def _checked_folds(folds: int | None) -> int | None:
    if folds is not None and folds < MIN_FOLDS:
        raise UserError(
            f"--folds {folds}: one fold is tested, one validates, the rest trains, so give {MIN_FOLDS} or more"
        )
    return folds


def check_values(settings: Mapping[str, Any]) -> None:
    """Raise UserError for a checked setting that is wrong whatever the encoders and tasks are."""
    chosen("--on-bad-image", OnBadImage, settings.get("on_bad_image", "error"))
    resolve_precision(settings.get("precision", "auto"), chosen_device(settings.get("device", "auto")))
    _checked_folds(settings.get("folds"))


def _checked_options(settings: Mapping[str, Any]) -> TaskOptions:
    """What is said of the tasks. Raises UserError for a value that no task knows."""
    folder = settings.get("text_encoder")
    if folder is not None and not folder.is_dir():
        raise UserError(f"--text-encoder {folder}: no such folder; give one with a transformers sentence encoder")
    for name in ("ecg_teacher", "labs_teacher"):
        if (path := settings.get(name)) is not None and not path.is_file():
            raise UserError(f"--{name.replace('_', '-')} {path}: no such file; give the teacher's weights")
    return TaskOptions(**{f.name: settings[f.name] for f in fields(TaskOptions) if f.name in settings})
