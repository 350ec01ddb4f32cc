"""A run as a whole: what was asked, checked and planned (``prepare``), and doing it (``Job.execute``)."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from cxrbench.engine.execute import Failed, Finished, Refused, execute
from cxrbench.engine.folds import MIN_FOLDS
from cxrbench.engine.names import refuse_wrong_names
from cxrbench.engine.options import unread_options
from cxrbench.engine.plan import CACHE_LIMIT, Plan, PlannedCell, RunRequest, make_plan
from cxrbench.engine.registry import load_task, parse_tasks
from cxrbench.engine.results import Results
from cxrbench.errors import UserError
from cxrbench.features.device import chosen_device, resolve_device, resolve_precision
from cxrbench.files.folders import cache_folder
from cxrbench.plugins.listing import list_tasks
from cxrbench.progress import Progress
from cxrbench.task import DecoderName, TaskOptions, Views

if TYPE_CHECKING:
    from cxrbench.features.extract import ExtractOptions


class Settings(TypedDict, total=False):
    """What may be said of a run beside encoders and tasks; the help of ``cxrbench run`` explains each.

    ``data``: the folder with one folder per dataset (None: the phantom). ``cache_limit``: bytes.
    """

    data: Path | None
    results: Path
    fractions: Sequence[float] | None
    seeds: int | None
    folds: int | None
    decoder: DecoderName | None
    finetune: bool
    augment: int
    epochs: int | None
    views: Views | None
    preset: str | None
    text_encoder: Path | None
    device: str
    precision: str
    batch_size: int
    workers: int
    on_bad_image: Literal["error", "skip"]
    max_pixels: int
    cache: Path | None
    cache_limit: int


@dataclass(frozen=True)
class Job:
    """What a run would do (``plan``), and doing it. ``remarks``: what does not apply, and what is not read."""

    request: "RunRequest"
    plan: "Plan"
    remarks: tuple[str, ...]
    cache: Path
    device: str
    batch_size: int
    workers: int
    max_pixels: int | None

    def execute(self, progress: Progress, *, fail_fast: bool = False) -> "Iterator[Finished | Refused | Failed]":
        """Compute what is missing or stale, cell by cell, as ``engine.execute`` does; if nothing is, without torch."""
        todo = [planned for planned in self.plan.cells if planned.state in ("missing", "stale")]
        options: Any = None  # nothing of what is left without ``todo`` needs them
        if todo:
            self._draw(todo, progress)
            options = self._extraction()
        yield from execute(self.plan, self.request, self.cache, options, progress, fail_fast=fail_fast)

    def _extraction(self) -> "ExtractOptions":
        from cxrbench.data.decode.images import MAX_PIXELS
        from cxrbench.features.extract import ExtractOptions

        precision: Any = self.request.precision
        device = resolve_device(self.device)
        return ExtractOptions(device, precision, self.batch_size, self.workers, self.max_pixels or MAX_PIXELS)

    def _draw(self, todo: Sequence[PlannedCell], progress: Progress) -> None:
        """The plan needs the phantom's tables alone; what is computed on needs its images."""
        if self.request.data is not None:
            return
        from cxrbench.phantom.write import ensure

        names = {planned.manifest.name for planned in todo if planned.manifest is not None}
        ensure(self.cache, names, progress=lambda done, total: progress.train("phantom images", done, total))


def prepare(encoders: str | Sequence[str], tasks: str | Sequence[str], **settings: Unpack[Settings]) -> Job:
    """Look at names, data and the results folder, and plan. No image is read, no encoder run, no phantom drawn.

    Raises UserError for what can be known to be wrong by now.
    """
    bad, workers = settings.get("on_bad_image", "error"), settings.get("workers", 0)
    if bad not in ("error", "skip"):
        raise UserError(f"--on-bad-image is error or skip, not {bad!r}")
    names = [name.strip() for name in (encoders.split(",") if isinstance(encoders, str) else encoders) if name.strip()]
    if not names:
        raise UserError("--encoder names no encoder: try --encoder imagenet, or `cxrbench encoders list`")
    asked = parse_tasks(tasks if isinstance(tasks, str) else ",".join(tasks))
    data = settings.get("data")
    options = _checked_options(settings)
    refuse_wrong_names(names, asked, data)
    cache, device = cache_folder(settings.get("cache")), chosen_device(settings.get("device", "auto"))
    request = RunRequest(
        encoders=tuple(dict.fromkeys(names)),
        tasks=tuple(asked),
        data=data,
        phantom=lambda: _phantom(cache, [name for name, _ in asked]),
        results=Results(settings.get("results", Path("results"))),
        precision=resolve_precision(settings.get("precision", "auto"), device),
        fractions=_checked_fractions(settings.get("fractions") or (1.0,)),
        seeds=settings.get("seeds") or 1,
        skip_bad=bad == "skip",
        task_options=options,
        folds=_checked_folds(settings.get("folds")),
        cache_limit=settings.get("cache_limit", CACHE_LIMIT),
        cache=cache,
    )
    plan = make_plan(request)
    if not plan.cells:
        raise UserError(f"there is nothing to run: {'; '.join(plan.remarks)}")
    remarks = unread_options(
        options,
        [planned.task for planned in plan.cells if planned.task is not None],
        lambda: [load_task(line.name) for line in list_tasks(check=True) if not line.problem],
        folds=request.folds,
        seeds=1 if options.preset else request.seeds,  # a paper's own are for whom they concern
        fractions=request.fractions,
    )
    return Job(
        request, plan, (*plan.remarks, *remarks), cache, device, settings.get("batch_size", 64),
        workers or min(os.cpu_count() or 1, 16), settings.get("max_pixels"),
    )  # fmt: skip


def _phantom(cache: Path, datasets: Collection[str]) -> Path:
    """The phantom's data folder, with these datasets in it."""
    from cxrbench.phantom.write import ensure

    return ensure(cache, datasets)


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


def _checked_options(settings: Mapping[str, Any]) -> "TaskOptions":
    """What is said of the tasks. Raises UserError for a value that no task knows."""
    folder = settings.get("text_encoder")
    if folder is not None and not folder.is_dir():
        raise UserError(f"--text-encoder {folder}: no such folder; give one with a transformers sentence encoder")
    return TaskOptions(**{f.name: settings[f.name] for f in fields(TaskOptions) if f.name in settings})
