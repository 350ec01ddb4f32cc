"""Several processes on one results folder: working on a request of it, and who of them computes a run."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrbench.progress import Progress
from cxrbench.schedule.manner import RETRIES, Manner
from cxrbench.schedule.status import Status

if TYPE_CHECKING:
    from cxrbench.engine.execute import Failed, Finished, Inapplicable
    from cxrbench.engine.job import Job
    from cxrbench.schedule.cost import CostPlan
    from cxrbench.schedule.worker import Settled

NOT_THEIRS = ("executor", "retries", "log")
"""Settings that are of who submits, not of a worker."""


def requested_job(
    results: Path | str = "results",
    request: str = "",
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
    **settings: Any,
) -> "Job":
    """The Job that a request of a results folder asks for, with what is left to do: for ``work``.

    ``request``: how its hash begins; not needed where there is one alone. ``settings``: of this machine (folders,
    device, batch size, ...), in place of those that the request was first made with; None leaves one as it was.
    ``dry_run``: it is only looked at, so no phantom is drawn. Raises UserError.
    """
    from cxrbench.api.runs import prepare
    from cxrbench.engine.asked.requests import find_request
    from cxrbench.errors import UserError

    asked = find_request(Path(results), request)
    if asked.objects:
        raise UserError(
            f"request {asked.sha256[:12]} is of objects of a program ({', '.join(asked.objects)}): only it can run it"
        )
    here = {name: value for name, value in settings.items() if value is not None}
    then: dict[str, Any] = {name: value for name, value in asked.settings.items() if name not in NOT_THEIRS}
    whole: dict[str, Any] = then | here | {"results": results}
    job = prepare(list(asked.encoders), list(asked.tasks), dry_run=dry_run, progress=progress, **whole)
    return replace(job, asked=asked)  # whatever is said otherwise here, it is the same request


def status(results: Path | str = "results", request: str = "", **settings: Any) -> Status:
    """How far a request of a results folder is: cells done, running, failed and missing, and the time that is left.

    Nothing is changed, and no image is read. ``request``, ``settings``: as of ``requested_job``. Raises UserError.
    """
    return next(statuses(results, request, **settings))


def statuses(results: Path | str = "results", request: str = "", **settings: Any) -> Iterator[Status]:
    """``status`` again and again, as often as it is asked for: a worker that has died elsewhere is noticed in time."""
    from cxrbench.files.leases import Leases
    from cxrbench.schedule.look import status_of

    with Leases() as leases:
        while True:
            yield status_of(requested_job(results, request, dry_run=True, **settings), leases)


def executor_table(asked: str | Mapping[str, Any]) -> dict[str, Any]:
    """An executor as a table: ``local:2`` is ``{"kind": "local", "workers": 2}``. Raises UserError."""
    from cxrbench.executors.choice import table_of

    return table_of(asked)


def check_executor(settings: Mapping[str, Any], objects: Sequence[str]) -> None:
    """Raise UserError for an executor, or an option of it, that there is not, and for what cannot be handed over.

    Before data are read or drawn. ``objects``: names that stand for objects of this program.
    """
    from cxrbench.engine.settings import checked_settings
    from cxrbench.errors import UserError
    from cxrbench.executors.choice import chosen_executor

    chosen_executor(checked_settings({"executor": settings.get("executor")})["executor"])
    if objects:
        raise UserError(f"{', '.join(objects)}: an executor's workers know no objects of this program: name files")
    if ":" in str(device := settings.get("device") or ""):
        raise UserError(f"--device {device} with an executor: its workers have a GPU each: say CUDA_VISIBLE_DEVICES")


def computing(
    job: "Job", progress: Progress, *, fail_fast: bool = False, manner: Manner | None = None
) -> "Iterator[Finished | Inapplicable | Failed | Settled]":
    """What becomes of the cells of a job: computed here; as one worker of several (``manner``); or by an executor."""
    asked = job.asked.settings.get("executor")
    retries = job.asked.settings.get("retries")
    if manner is not None:
        from cxrbench.engine.execute import Failed, begun
        from cxrbench.schedule.worker import work

        for planned in begun(job.plan, job.request):
            yield Failed(planned, planned.reason)
        job.keep_asked()
        for outcome in work(job, manner, progress):
            yield outcome
            if fail_fast and isinstance(outcome, Failed):
                return
    elif asked:
        from cxrbench.executors.watch import submitted

        yield from submitted(job, asked, retries=RETRIES if retries is None else retries, fail_fast=fail_fast)
    else:
        yield from _alone(job, progress, fail_fast=fail_fast, retries=retries or 0)


def _alone(
    job: "Job", progress: Progress, *, fail_fast: bool, retries: int
) -> "Iterator[Finished | Inapplicable | Failed]":
    """Computed by this process; the results folder remembers what fails, and why."""
    from cxrbench.engine.execute import Failed
    from cxrbench.schedule.failures import failure_of, forget_failure, record_failure

    results = job.request.results
    for outcome in job.execute(progress, fail_fast=fail_fast, retries=retries):
        if isinstance(outcome, Failed):
            if outcome.trace:
                record_failure(results, outcome.planned.cell, outcome.reason, outcome.trace)
        elif failure_of(results, outcome.planned.cell) is not None:
            forget_failure(results, outcome.planned.cell)
        yield outcome


def cost(job: "Job", *, workers: int = 1, progress: Progress | None = None) -> "CostPlan":
    """Hours, disk and memory of what is left of a job (``prepare``), by encoder and data set, and on so many workers.

    Encoders whose speed on such a device the store does not know are run over a few images for some seconds; cells take
    what earlier cells of the store took that are most alike. Nothing is saved. What is not known is NaN, and said::

        plan = cxrbench.api.cost(cxrbench.api.prepare("imagenet", "nih", dry_run=True), workers=8)
    """
    from cxrbench.schedule.cost import cost_of, to_extract
    from cxrbench.schedule.features import is_made
    from cxrbench.schedule.graph import graph_of
    from cxrbench.schedule.measured import measure

    graph = graph_of(job)
    made = {part for part in graph.parts if is_made(part, job.cache)}
    measured = measure(job, graph, to_extract(graph, made), progress or Progress())
    found = cost_of(graph, made, measured, workers, gpu=job.device != "cpu")
    blocked = Counter((one.cell.encoder, one.reason) for one in job.plan.cells if one.state == "blocked")
    said = (f"{n} cells of {encoder} are blocked and not counted: {why}" for (encoder, why), n in blocked.items())
    return replace(found, remarks=(*found.remarks, *said))
