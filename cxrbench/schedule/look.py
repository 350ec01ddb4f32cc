"""Looking at how far a request is: the files say what is done, running, failed or missing."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from statistics import fmean

from cxrbench.encoder import EncoderSpec
from cxrbench.engine.asked.renamed import cell_now, new_names
from cxrbench.engine.asked.requests import SHOWN
from cxrbench.engine.headers.header import ReadHeader
from cxrbench.engine.job import Job
from cxrbench.engine.plan import PlannedCell
from cxrbench.engine.results import Results
from cxrbench.errors import UserError
from cxrbench.files.generations import Holder, leased
from cxrbench.files.leases import Leases
from cxrbench.files.seal import DamagedError
from cxrbench.schedule.failures import FailedCell, failure_of
from cxrbench.schedule.features import is_made, makers
from cxrbench.schedule.graph import graph_of
from cxrbench.schedule.status import Running, Status, Waiting
from cxrbench.schedule.worker import lease_path
from cxrbench.task import Cell

SAMPLE = 3  # finished cells of an encoder on a task that say how long such a cell takes


def status_of(job: Job, leases: Leases) -> Status:
    """How far a job is that has just been planned. ``leases``: remembers what it saw the last time, so that a worker
    that died elsewhere is noticed. Changes nothing.
    """
    results = job.request.results
    held = _held(results.root / "leases", leases)
    headers, since = results.headers(job.cache), new_names(results.root, job.asked.sha256)
    done, blocked, failed, left = 0, [], [], []
    renamed: list[str] = []
    prints: dict[tuple[str, str], str] = {}
    at: list[Running] = []
    for planned in job.plan.cells:
        if planned.state in ("done", "not applicable"):
            done += 1
        elif planned.state == "blocked":
            blocked.append(_waiting(planned.cell, planned.reason))
        elif (holder := held.get(lease_path(results, planned.cell))) is not None:
            at.append(_running(holder))
        elif (how := _renamed(job, planned, cell_now(planned, since, prints), headers)) is not None:
            renamed.append(how)
        elif (failure := failure_of(results, planned.cell)) is not None:
            failed.append(_waiting(planned.cell, failure.reason, failure))
        else:
            left.append(planned)
    running, seconds = len(at), _seconds(results, headers, job.plan.cells, left)
    graph = graph_of(job, left)
    speeds: dict[int, float | None] = {}
    for _, of_entry in groupby(graph.parts, key=lambda part: part.key):
        parts = list(of_entry)
        ref, where = parts[0].ref, f"features of {parts[0].encoder} on {parts[0].dataset}"
        if is_made(parts[0], job.cache):
            continue
        if id(ref) not in speeds:
            speeds[id(ref)] = _speed(results, ref.spec)
        speed = speeds[id(ref)]
        seconds = None if seconds is None or speed is None else seconds + parts[-1].end / speed
        at += [_running(holder, where + which) for which, holder in makers(parts, job.cache, job.batch_size, leases)]
    workers = len({(one.host, one.process) for one in at})
    return Status(
        job.asked.sha256[:SHOWN], len(job.plan.cells), done, running, tuple(failed), tuple(blocked), len(left),
        tuple(at), seconds / workers if workers and seconds is not None else None,
        len(renamed), tuple(dict.fromkeys(renamed)),
    )  # fmt: skip


def _renamed(job: Job, planned: PlannedCell, now: Cell, headers: ReadHeader) -> str | None:
    """How a cell is called ``now`` that is done under another name; None for any other."""
    cell = planned.cell
    pairs = [(was, is_) for was, is_ in ((cell.encoder, now.encoder), (cell.dataset, now.dataset)) if was != is_]
    if not pairs:
        return None
    state, _ = job.request.results.state(now, allow_dropped=job.request.skip_bad, header_at=headers)
    return ", ".join(f"{was} is called {is_}" for was, is_ in pairs) if state in ("done", "not applicable") else None


def _speed(results: Results, spec: EncoderSpec) -> float | None:
    """Images per second of an encoder as it was last measured; None if it was not."""
    try:
        return results.encoder_facts(spec.name, spec.fingerprint).get("images_per_second") or None
    except (DamagedError, OSError):
        return None


def _held(folder: Path, leases: Leases) -> dict[Path, Holder]:
    """The leases below a folder that somebody holds."""
    found: dict[Path, Holder] = {}
    for above, _, names in os.walk(folder):
        for path in {leased(Path(above, name)) for name in names if not name.startswith(".")}:
            if (holder := leases.holder(path)) is not None:
                found[path] = holder
    return found


def _seconds(
    results: Results, headers: ReadHeader, cells: Iterable[PlannedCell], left: Iterable[PlannedCell]
) -> float | None:
    """Seconds that one worker would take for cells that are left; None where no finished cell says."""
    measured: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for planned in cells:
        cell = planned.cell
        wanted = planned.state == "done" and len(measured[cell.encoder, cell.task]) < SAMPLE
        if wanted and (seconds := _made_in(headers, results.path(cell))) is not None:
            for kind in _kinds(cell):
                measured[kind].append(seconds)
    means: Mapping[tuple[str, ...], float] = {kind: fmean(found) for kind, found in measured.items() if found}
    if not means:
        return None
    return sum(next(means[kind] for kind in _kinds(planned.cell) if kind in means) for planned in left)


def _kinds(cell: Cell) -> list[tuple[str, ...]]:
    """What a cell is like, the most alike first; the last is every cell."""
    return [(cell.encoder, cell.task), ("", cell.task), ("", cell.protocol), ()]


def _made_in(headers: ReadHeader, path: Path) -> float | None:
    """Seconds that a finished cell took, if it says so."""
    try:
        found = headers(path)
        return None if found is None else float(found.facts["made"]["seconds"])
    except (UserError, OSError, KeyError, TypeError, ValueError):
        return None


def _running(holder: Holder, what: str | None = None) -> Running:
    return Running(holder.what if what is None else what, holder.host, holder.pid, holder.since)


def _waiting(cell: Cell, reason: str, failure: FailedCell | None = None) -> Waiting:
    attempts, trace = (failure.attempts, failure.trace) if failure else (0, "")
    return Waiting(cell.encoder, cell.task, cell.fraction, cell.seed, reason, attempts, trace)
