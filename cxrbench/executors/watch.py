"""What the submitting side does: it starts workers, looks at what they do, and tells of each cell once."""

import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from cxrbench.engine.asked.requests import SHOWN
from cxrbench.engine.execute import TODO, Failed, Finished, Inapplicable, begun
from cxrbench.engine.job import Job
from cxrbench.engine.plan import PlannedCell
from cxrbench.errors import WorkGoesOnError
from cxrbench.executors.choice import chosen_executor
from cxrbench.executors.contract import Placed, WorkerKind
from cxrbench.predictions import Predictions
from cxrbench.schedule.failures import failure_of, forget_failure
from cxrbench.schedule.graph import graph_of

EVERY = 0.2  # seconds between two looks, at least
SHARE = 0.1  # of the time that may be spent on looking


def submitted(
    job: Job, asked: str | Mapping[str, Any], *, retries: int, fail_fast: bool = False
) -> Iterator[Finished | Inapplicable | Failed]:
    """Have the missing, stale and damaged cells of a job computed by an executor's workers; each is yielded once.

    What failed before is tried again. However this ends, workers that are of this side alone end with it; those of a
    cluster that keeps its jobs go on, and after Ctrl-C WorkGoesOnError says so. Raises UserError as ``Job.execute``
    does, and where no worker can be started.
    """
    executor = chosen_executor(asked)
    blocked = begun(job.plan, job.request)
    for planned in blocked:
        yield Failed(planned, planned.reason)
        if fail_fast:
            return
    job.keep_asked()
    todo = [planned for planned in job.plan.cells if planned.state in TODO]
    if not todo:
        return
    for planned in todo:
        forget_failure(job.request.results, planned.cell)
    placed = executor.start(worker_command(job, retries), kinds_of(job))
    try:
        for outcome in watched(job, todo, placed, retries):
            yield outcome
            if fail_fast and isinstance(outcome, Failed):
                placed.stop()
                return
        placed.finish()
    except BaseException as error:
        if not placed.cancel_hint:
            placed.stop()
        elif isinstance(error, KeyboardInterrupt):
            raise WorkGoesOnError(placed.cancel_hint) from error
        raise


def worker_command(job: Job, retries: int) -> list[str]:
    """The command of a worker of a job, the same on all machines that see the same folders."""
    settings, request = job.asked.settings, job.request
    files = ("text_encoder", "ecg_teacher", "labs_teacher")
    given = {name: path for name in files if (path := getattr(request.task_options, name)) is not None}
    said: dict[str, Any] = {
        "--results": request.results.root.absolute(), "--request": job.asked.sha256[:SHOWN],
        "--cache": job.cache.absolute(), "--data": request.data and request.data.absolute(),
        **{f"--{name.replace('_', '-')}": path.absolute() for name, path in given.items()},
        "--precision": request.precision, "--device": settings.get("device"), "--batch-size": job.batch_size,
        "--max-pixels": settings.get("max_pixels"), "--cache-limit": request.cache_limit, "--retries": retries,
    }  # fmt: skip
    words = [word for option, value in said.items() if value is not None for word in (option, str(value))]
    return [sys.executable, "-P", "-m", "cxrbench", "worker", *words]  # -P: a cxrbench.py in this folder is not meant


def kinds_of(job: Job) -> list[WorkerKind]:
    """How many units of a job need a GPU, and how many none; with ``--device cpu`` all need none."""
    graph = graph_of(job)
    needs = [unit.needs for unit in (*graph.parts, *graph.cells)]
    gpu = 0 if job.asked.settings.get("device") == "cpu" else needs.count("gpu")
    kinds = [WorkerKind("gpu", gpu), WorkerKind("cpu", len(needs) - gpu)]
    return [kind for kind in kinds if kind.units]


def watched(
    job: Job, todo: list[PlannedCell], placed: Placed, retries: int
) -> Iterator[Finished | Inapplicable | Failed]:
    """What becomes of cells that workers are at, in the order in which it is seen; whatever is left when they end has
    failed.
    """
    left = todo
    while left:
        alive, began = placed.alive(), time.monotonic()  # asked first: what a worker does last is seen below
        still = []
        for planned in left:
            if (outcome := _outcome(job, planned, retries)) is None:
                still.append(planned)
            else:
                yield outcome
        left = still
        if left and not alive:
            why = placed.ended_badly() or "all workers have ended"
            for planned in left:
                yield Failed(planned, f"not computed: {why}")
            return
        if left:
            time.sleep(max(EVERY, (time.monotonic() - began) / SHARE))


def _outcome(job: Job, planned: PlannedCell, retries: int) -> Finished | Inapplicable | Failed | None:
    """What has become of a cell; None: nothing yet."""
    results, cell = job.request.results, planned.cell
    state, reason = results.state(cell, allow_dropped=job.request.skip_bad)
    if state == "done":
        return Finished(planned, Predictions.load(results.path(cell)))
    if state == "not applicable":
        return Inapplicable(planned, reason)
    found = failure_of(results, cell)
    return Failed(planned, found.reason, found.trace) if found is not None and found.attempts > retries else None
