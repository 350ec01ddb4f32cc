"""What a run would cost: hours, disk and memory per encoder and data set, and how long it takes on several workers."""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

from cxrbench.data.manifest import Manifest
from cxrbench.engine.headers.header import PREDICTIONS
from cxrbench.engine.job import Job
from cxrbench.engine.plan import EncoderRef
from cxrbench.errors import THEIRS, UserError
from cxrbench.features.extract import ExtractOptions
from cxrbench.files.seal import DamagedError
from cxrbench.plugins.loading import blame
from cxrbench.progress import Progress
from cxrbench.schedule.estimates import CellTimes, EarlierCell, Speed, speed_by_gflops, speed_in_store
from cxrbench.schedule.features import is_made
from cxrbench.schedule.graph import CellUnit, Graph, Part, graph_of
from cxrbench.schedule.makespan import Timed, longest_chain, lower_bound, makespan
from cxrbench.schedule.probe import Probed, decoding, elsewhere, probe

BASE = 700 * 10**6  # bytes of a process with torch and its libraries, where no probe has measured it
COPIES = 3  # of a data set's pooled features in memory: as read, standardized in double precision


@dataclass(frozen=True)
class CostRow:
    """An encoder on a data set.

    ``images``: that are still to be extracted; ``speed``: images per second; ``cells``: that are left; ``seconds``: of
    extraction, and of all cells (NaN where no cell of a protocol was ever computed). ``pooled_bytes``,
    ``dense_bytes``: on disk. ``memory_bytes``: of a worker; ``gpu_bytes``: of its device's, 0 where not measured.
    """

    encoder: str
    dataset: str
    images: int
    speed: Speed
    cells: int
    extraction_seconds: float
    cell_seconds: float
    pooled_bytes: int
    dense_bytes: int
    memory_bytes: int
    gpu_bytes: int


@dataclass(frozen=True)
class CostPlan:
    """``rows`` by encoder and data set. ``gpu_hours``: of units in which networks run, on a run whose device is a GPU;
    ``cpu_hours``: of all others. ``makespan_seconds`` on ``workers``, ``bound_seconds``: no schedule is below,
    ``chain_seconds``: nor on any number of workers. ``remarks``: what is not known, and counts as nothing.
    """

    rows: tuple[CostRow, ...]
    workers: int
    gpu_hours: float
    cpu_hours: float
    makespan_seconds: float
    bound_seconds: float
    chain_seconds: float
    remarks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values by name; None for what is not known."""
        said = asdict(self)
        said["rows"] = [
            {**{k: _plain(v) for k, v in asdict(row).items() if k != "speed"},
             "images_per_second": _plain(row.speed.images_per_second), "from": row.speed.source}
            for row in self.rows
        ]  # fmt: skip
        return said


def cost_of(job: Job, workers: int, progress: Progress) -> CostPlan:
    """Measure, where no earlier run has, what encoders take, and add up what is left to do. Saves nothing."""
    graph = graph_of(job.plan, job.request.precision, job.batch_size, pooled_first=job.request.skip_bad)
    todo = [part for part in graph.parts if not is_made(part, job.cache)]
    measured = _Measured(job, graph, progress)
    times = measured.cell_times()
    rows, remarks = [], list[str]()
    timed, seconds_of = _timed(graph, todo, measured, times)
    for group in graph.groups:
        cells, left = group.cells, [part for part in dict.fromkeys(p for u in group.cells for p in u.after) if part in set(todo)]
        rows.append(measured.row(cells, left, sum(seconds_of[unit.cell, 0] for unit in cells)))
    unknown = sorted({u.cell.protocol for u in graph.cells if math.isnan(times.seconds(u.cell))})
    for protocol in unknown:
        count = sum(unit.cell.protocol == protocol for unit in graph.cells)
        remarks.append(f"no cell of {protocol} was computed in this store: its {count:,} cells count as 0 s")
    remarks += measured.remarks
    return CostPlan(tuple(rows), workers, 0, 0, makespan(timed, workers), lower_bound(timed, workers), longest_chain(timed), tuple(remarks))
