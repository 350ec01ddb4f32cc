"""Do what a plan says is left to do."""

import logging
import math
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from cxrbench.data.attributes import attributes
from cxrbench.data.manifest import Manifest
from cxrbench.engine.cached_encoder import CachedEncoder
from cxrbench.engine.elsewhere.encoder import JoinedEncoder
from cxrbench.engine.plan import Plan, PlannedCell, RunRequest
from cxrbench.engine.results import Results
from cxrbench.engine.truth import without_test_truth
from cxrbench.errors import THEIRS, DiskError, NotApplicableError, UserError
from cxrbench.files.atomic import FULL, disk_error
from cxrbench.files.leases import LostError
from cxrbench.files.seal import DamagedError
from cxrbench.plugins.versions import installed_versions
from cxrbench.predictions import Predictions
from cxrbench.progress import Progress
from cxrbench.task import RunContext, Task

if TYPE_CHECKING:  # where everything is finished, nothing computes
    from cxrbench.features.extract import ExtractOptions

log = logging.getLogger(__name__)
T = TypeVar("T")
TODO = ("missing", "stale", "damaged")
"""States of cells that are computed."""
AnyEncoder = CachedEncoder | JoinedEncoder
"""An encoder with the features of one dataset, or of several joined."""


class Finished(NamedTuple):
    """A cell that has just been computed and saved."""

    planned: PlannedCell
    predictions: Predictions


class Inapplicable(NamedTuple):
    """A cell whose encoder cannot be asked this (it has no maps, no text tower), and why; the store remembers it."""

    planned: PlannedCell
    reason: str


class Failed(NamedTuple):
    """A cell that could not be computed, and why: one line. It is tried again in the next run.

    ``trace``: the whole traceback; empty where nothing was tried.
    """

    planned: PlannedCell
    reason: str
    trace: str = ""


def execute(
    plan: Plan,
    request: RunRequest,
    cache: Path,
    options: "ExtractOptions",
    progress: Progress,
    *,
    fail_fast: bool = False,
    retries: int = 0,
) -> Iterator[Finished | Inapplicable | Failed]:
    """Compute the missing, stale and damaged cells one by one, saving each before it is yielded.

    A cell that fails ``retries`` + 1 times, or is blocked, is yielded with its reason and the others go on; with
    ``fail_fast`` the first one ends it all. Raises UserError at once, before anything is computed, if every cell is
    blocked or there is none, and where nothing can be written (DiskError).
    """
    for planned in begun(plan, request):
        yield Failed(planned, planned.reason)
        if fail_fast:
            return
    todo = [planned for planned in plan.cells if planned.state in TODO]
    with shared_images(todo, cache, options) as options:
        for _, group in groupby(todo, key=together):
            for outcome in _group(list(group), request, RunContext(options, cache, progress), retries):
                yield outcome
                if fail_fast and isinstance(outcome, Failed):
                    return


def begun(plan: Plan, request: RunRequest) -> list[PlannedCell]:
    """The blocked cells of a plan that can be begun; what is known of the patients of finished ones is kept.

    Raises UserError if every cell is blocked or there is none.
    """
    if not plan.cells:
        raise UserError(f"there is nothing to run: {'; '.join(plan.remarks)}")
    blocked = [planned for planned in plan.cells if planned.state == "blocked"]
    if blocked and len(blocked) == len(plan.cells):
        raise UserError(blocked[0].reason)
    for manifest in {id(m): m for p in plan.cells if p.state == "done" and (m := p.manifest) is not None}.values():
        if len(attributes(manifest.images).columns):  # what is known of the patients may be new, where no cell is
            request.results.save_manifest(manifest)
    return blocked


def together(planned: PlannedCell) -> tuple[int, int, int]:
    """Equal for cells that share an encoder's features: of one encoder on one dataset, or on several joined."""
    return id(planned.encoder), id(planned.manifest), id(planned.joined)


def shared_images(
    todo: list[PlannedCell], cache: Path, options: "ExtractOptions"
) -> "AbstractContextManager[ExtractOptions]":
    """A context with the options for these cells: images are kept decoded where several encoders are to see them."""
    several = len({id(planned.encoder) for planned in todo}) > 1
    return _images_kept(cache, options) if several else nullcontext(options)


@contextmanager
def _images_kept(cache: Path, options: "ExtractOptions") -> "Iterator[ExtractOptions]":
    """The options by which an encoder gets the images as an earlier one of this run had them decoded."""
    from cxrbench.features.decoded import DecodedImages

    with DecodedImages(cache) as images:
        yield replace(options, use=images.use)


def _group(
    cells: list[PlannedCell], request: RunRequest, context: RunContext, retries: int
) -> Iterator[Finished | Inapplicable | Failed]:
    """Compute the cells of one encoder on one dataset, or on datasets that are trained and tested on together."""
    encoder = encoder_of(cells[0], request, context)
    for planned in cells:
        outcome = _done(planned, encoder, request.results)
        for _ in range(retries):
            if isinstance(outcome, Failed):
                outcome = _done(planned, encoder, request.results)
        yield outcome


def _done(planned: PlannedCell, encoder: AnyEncoder, results: Results) -> Finished | Inapplicable | Failed:
    """Compute a cell and save what comes of it."""
    outcome = computed(planned, encoder)
    return outcome if isinstance(outcome, Failed) else kept(outcome, encoder, results)


def encoder_of(planned: PlannedCell, request: RunRequest, context: RunContext) -> AnyEncoder:
    """A cell's encoder with the features of its dataset, or datasets, whose rows are kept with the results."""
    ref, manifest, joined = planned.encoder, planned.manifest, planned.joined
    assert ref is not None  # only blocked cells lack them
    assert manifest is not None
    request.results.save_manifest(manifest)
    of_sets = {
        one.name: CachedEncoder(ref, one, context, request.skip_bad, request.cache_limit)
        for one in (joined.sets if joined else [manifest])
    }
    return JoinedEncoder(of_sets, joined.manifest) if joined else of_sets[manifest.name]


def computed(planned: PlannedCell, encoder: AnyEncoder) -> Finished | Inapplicable | Failed:
    """What comes of a cell; nothing of it is saved. Raises DiskError where the cache cannot be written."""
    try:
        return _tried(planned, encoder, lambda: _computed(planned, encoder))
    except NotApplicableError as why:
        return Inapplicable(planned, _about_it(str(why), planned.cell.encoder))


def kept(
    outcome: Finished | Inapplicable,
    encoder: AnyEncoder,
    results: Results,
    permit: Callable[[], None] = lambda: None,
) -> Finished | Inapplicable | Failed:
    """What came of a cell, now that it is saved, with what its encoder costs. Raises DiskError.

    ``permit``: called before the cell is visible; a LostError of it is raised, too.
    """
    return _tried(outcome.planned, encoder, lambda: _kept(outcome, encoder, results, permit))


def _tried(planned: PlannedCell, encoder: AnyEncoder, call: Callable[[], T]) -> T | Failed:
    """The call's result, or that it failed; what is no failure of this cell alone is raised."""
    try:
        return call()
    except (DiskError, NotApplicableError, LostError):
        raise
    except THEIRS as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise disk_error(error, encoder.context.scratch) from error
        log.debug("%s on %s", planned.cell.encoder, planned.cell.task, exc_info=True)
        return Failed(planned, one_line(error), "".join(traceback.format_exception(error)))


def _computed(planned: PlannedCell, encoder: AnyEncoder) -> Finished:
    """Raises whatever the encoder, the task or the disk do."""
    assert planned.task is not None
    manifest, started = encoder.images, time.perf_counter()
    # Only an extraction finds out which images are bad, so where they may be dropped it comes first.
    ids = encoder.bad_images() if encoder.skip_bad else []
    predictions = _predict(planned, planned.task, encoder, manifest.without(ids) if ids else manifest)
    made = how_made(encoder.context.options, time.perf_counter() - started)
    predictions = replace(predictions, cell={**predictions.cell, **planned.cell.facts()}, made=made)
    return Finished(planned, _with_dropped(predictions, manifest.name, len(ids)))


def _kept(
    outcome: Finished | Inapplicable, encoder: AnyEncoder, results: Results, permit: Callable[[], None]
) -> Finished | Inapplicable:
    cell = outcome.planned.cell
    if isinstance(outcome, Inapplicable):
        results.save_not_applicable(cell, outcome.reason, synthetic=encoder.images.synthetic, permit=permit)
        return outcome
    results.save(cell, outcome.predictions, permit)
    try:
        _keep_efficiency(results, encoder)
    except (RuntimeError, TypeError, ValueError) as error:  # of torch's counter, or the encoder
        encoder.context.progress.note(f"what {encoder.spec.name} costs cannot be counted: {one_line(error)}")
    return outcome


def how_made(options: "ExtractOptions", seconds: float) -> dict[str, Any]:
    """What Predictions say of how they were made: versions, device, precision, date (UTC), seconds."""
    from cxrbench.features.device import device_name

    return {
        "versions": dict(installed_versions()),
        "device": device_name(options.device),
        "precision": options.precision,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 2),
    }


def one_line(error: BaseException) -> str:
    """The reason of a failure: a UserError's own words, else the exception and where it arose."""
    from cxrbench.plugins.loading import blame

    return " ".join((str(error) if isinstance(error, UserError) else blame(error)).split())


def _predict(planned: PlannedCell, task: Task, encoder: AnyEncoder, manifest: Manifest) -> Predictions:
    """Run a task on what it may see, then put the truth beside what it predicted."""
    from cxrbench.metrics.kinds import KINDS

    seen = manifest if task.sees_test_truth else without_test_truth(manifest)
    predictions = task.run(encoder, seen, planned.cell)
    return KINDS[predictions.kind].score(predictions, manifest)


def _about_it(reason: str, encoder: str) -> str:
    """The reason without the encoder's name at its head, so that encoders with one reason can be told together."""
    return f"it{reason.removeprefix(encoder)}" if reason.startswith(f"{encoder} ") else reason


def _with_dropped(predictions: Predictions, dataset: str, dropped: int) -> Predictions:
    """Say how many images were dropped, if any."""
    if not dropped:
        return predictions
    facts = {**predictions.dataset, "dropped": dropped}
    return replace(predictions, dataset=facts, notes=(*predictions.notes, dropped_note(dataset, dropped)))


def dropped_note(dataset: str, dropped: int) -> str:
    """The line that says how many images of a dataset were dropped."""
    images = "1 unreadable image" if dropped == 1 else f"{dropped:,} unreadable images"
    return f"{images} of {dataset} {'was' if dropped == 1 else 'were'} dropped (--on-bad-image skip)"


def _keep_efficiency(results: Results, encoder: AnyEncoder) -> None:
    """Measure an encoder once: the counts do not depend on the data, the images per second are the last seen.

    What a StoredEncoder cost, nobody knows here.
    """
    if encoder.ref.stored:
        return
    from cxrbench.features.efficiency import measure

    spec, options, features = encoder.spec, encoder.context.options, encoder.known_features
    try:
        facts = results.encoder_facts(spec.name, spec.fingerprint)
    except DamagedError:
        facts = {}
    speed = None if features is None or math.isnan(features.images_per_second) else features.images_per_second
    known = facts.get("images_per_second")
    fresh = speed is not None and speed != known and not (known is not None and features and features.from_cache)
    if facts and not fresh:
        return
    if not facts:
        counts = measure(encoder.module, encoder.ref.preprocess)
        facts = {"parameters": spec.parameters, "gflops_per_image": counts.gflops_per_image}
        facts |= {"images_per_second": None, "width": counts.width}
        facts |= {f"pretraining_{name}": hours for name, hours in spec.card.hours.items()}
    facts.update(images_per_second=speed, device=str(options.device), precision=options.precision)
    results.save_efficiency(spec.name, spec.fingerprint, facts)
