"""A worker: it does the units of a plan that nobody else does, until none is left.

Workers know nothing of each other but the files: cells in the results folder, features in the cache, and leases, which
say who is at what. Each begins at another place of the plan, and then helps with the rest.
"""

import random
import time
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from cxrbench.engine.elsewhere.encoder import JoinedEncoder
from cxrbench.engine.execute import (
    AnyEncoder,
    Failed,
    Finished,
    Inapplicable,
    computed,
    encoder_of,
    kept,
    shared_images,
    together,
)
from cxrbench.engine.headers.header import PREDICTIONS, REASON
from cxrbench.engine.job import Job
from cxrbench.engine.plan import PlannedCell
from cxrbench.engine.results import Results
from cxrbench.errors import THEIRS, DiskError
from cxrbench.files.leases import Lease, Leases, LostError
from cxrbench.progress import Progress
from cxrbench.schedule.failures import DEATHS, failure_of, forget_failure, record_deaths, record_failure
from cxrbench.schedule.features import forget_deaths, is_deadly, is_made, made
from cxrbench.schedule.graph import CellUnit, Graph, Needs, Part, graph_of
from cxrbench.schedule.listing import FolderNames
from cxrbench.schedule.manner import Manner, Wanted
from cxrbench.task import Cell, RunContext

PASSES: dict[Wanted, tuple[frozenset[Needs], ...]] = {
    "any": (frozenset({"gpu", "cpu"}),),
    "gpu": (frozenset({"gpu"}),),
    "cpu": (frozenset({"cpu"}),),
    "gpu-first": (frozenset({"gpu"}), frozenset({"cpu"})),
}
"""Which units a worker looks for; in a later pass only while an earlier one finds none."""
FIRST_WAIT, LONGEST_WAIT = 0.05, 5.0  # seconds between two looks at what others do


class Settled(NamedTuple):
    """A cell that another worker has done in the meantime."""

    planned: PlannedCell


Outcome = Finished | Inapplicable | Failed | Settled


def lease_path(results: Results, cell: Cell) -> Path:
    """The lease of a cell: ``leases/DATASET/PROTOCOL/ENCODER/fraction-F-seed-S``, and a generation."""
    return results.root / "leases" / results.path(cell).relative_to(results.root / "cells").with_suffix("")


def is_written(results: Results, lease: Path) -> bool:
    """Whether the cell that a path is the lease of has a file, whatever it says."""
    cell = results.root / "cells" / lease.relative_to(results.root / "leases")
    return any(cell.with_name(cell.name + end).exists() for end in (PREDICTIONS, REASON))


def work(job: Job, manner: Manner, progress: Progress) -> Iterator[Outcome]:
    """Do what is left of a job together with all others who work on it.

    Every cell that is not done in the job's plan is yielded once, be it done here or elsewhere; one that failed more
    than ``retries`` times as Failed. What workers that were killed here have left is cleared away. Raises DiskError
    where nothing can be written.
    """
    graph, results = graph_of(job), job.request.results
    todo = [unit.planned for unit in graph.cells]
    with Leases(manner.ttl) as leases:
        if todo:
            with shared_images(todo, job.cache, job.extraction()) as options:
                yield from _Worker(job, graph, manner, leases, RunContext(options, job.cache, progress)).run()
        leases.clear(results.root / "leases", partial(is_written, results))


def begun_at(graph: Graph, start: float) -> list[list[CellUnit]]:
    """The cells by group, in the order in which a worker looks at them that begins at ``start`` of all cells."""
    groups = [list(group.cells) for group in graph.groups]
    first = int(start * sum(map(len, groups)))
    for number, cells in enumerate(groups):
        if first < len(cells):
            return [[*cells[first:], *cells[:first]], *groups[number + 1 :], *groups[:number]]
        first -= len(cells)
    return groups


class _Worker:
    """``left``: the cells that are not done as far as it knows, by group. ``entries``: keys of features that are there,
    or that cannot be made, which their cells will say.
    """

    def __init__(self, job: Job, graph: Graph, manner: Manner, leases: Leases, context: RunContext) -> None:
        self.job, self.manner, self.leases, self.context = job, manner, leases, context
        mine = frozenset().union(*PASSES[manner.wanted])
        groups = [[unit for unit in cells if unit.needs in mine] for cells in begun_at(graph, manner.start)]
        self.left = [cells for cells in groups if cells]
        self.makes_parts, self.entries = "gpu" in mine, set[str]()
        self.listing = FolderNames()
        self.at: tuple[int, int, int] | None = None
        self.encoder: AnyEncoder | None = None

    def run(self) -> Iterator[Outcome]:
        """Work until nothing is left."""
        wait = FIRST_WAIT
        while self.left:
            moved = False
            for outcome in self._look():
                moved = True
                if outcome is not None:
                    yield outcome
            if moved:
                wait = FIRST_WAIT
            elif self.manner.until_idle:
                return
            else:  # not all at once, and not forever late: others end, fail or die
                time.sleep(wait * random.uniform(0.5, 1.5))
                wait = min(2 * wait, LONGEST_WAIT, self.manner.ttl / 4)

    def _look(self) -> Iterator[Outcome | None]:
        """Go through what is left once, and do what is free. None: something was done, and its cell is still left."""
        for number, needs in enumerate(PASSES[self.manner.wanted]):
            for cells in self.left:
                for unit in [unit for unit in cells if unit.needs in needs]:
                    if (others := self._written(unit)) is None:
                        if not self._has_parts(unit):
                            break  # nor have the others of this group
                        if (lease := self._lease(unit)) is None:
                            continue
                        with lease:
                            others = self._settled(unit) or self._given_up(unit) or self._deadly(unit, lease)
                            outcome = others or self._done(unit, lease)
                    else:
                        outcome = others
                    if outcome is not None:
                        cells.remove(unit)
                    yield outcome
                    if others is None and number:
                        return  # there may be something again that this worker is wanted for
            self.left = [cells for cells in self.left if cells]

    def _written(self, unit: CellUnit) -> Settled | None:
        """Whether somebody has written a cell that was missing: by the name of its file, which nobody opens for that.

        A cell that was stale or damaged has had such a file all along, so it is looked up.
        """
        if unit.planned.state != "missing":
            return self._settled(unit)
        path = self.job.request.results.path(unit.cell)
        there = any(self.listing.has(file) for file in (path, path.with_suffix(REASON)))
        return Settled(unit.planned) if there else None

    def _settled(self, unit: CellUnit) -> Settled | None:
        """Whether a cell is there by now."""
        state, _ = self.job.request.results.state(unit.cell, allow_dropped=self.job.request.skip_bad)
        return Settled(unit.planned) if state in ("done", "not applicable") else None

    def _given_up(self, unit: CellUnit) -> Failed | None:
        """Whether a cell has failed too often, here or elsewhere."""
        found = failure_of(self.job.request.results, unit.cell)
        if found is None or found.attempts <= self.manner.retries:
            return None
        return Failed(unit.planned, found.reason, found.trace)

    def _deadly(self, unit: CellUnit, lease: Lease) -> Failed | None:
        """Whether a cell has ended every worker that was at it, as one does for which there is too little memory."""
        if lease.generation <= DEATHS:
            return None
        reason = f"{DEATHS} workers ended without a word while they computed it: is there memory enough?"
        record_deaths(self.job.request.results, unit.cell, reason, self.manner.retries)
        return Failed(unit.planned, reason)

    def _lease(self, unit: CellUnit) -> Lease | None:
        """The lease of a cell, unless somebody else has it."""
        what = f"{unit.cell.encoder} on {unit.cell.task}, fraction {unit.cell.fraction:g}, seed {unit.cell.seed}"
        lease = self.leases.acquire(lease_path(self.job.request.results, unit.cell), what)
        return lease if isinstance(lease, Lease) else None

    def _done(self, unit: CellUnit, lease: Lease) -> Outcome | None:
        """Compute a cell and save it; None if it is to be tried again, or others took it over meanwhile."""
        results, cell, progress = self.job.request.results, unit.cell, self.context.progress
        outcome = computed(unit.planned, self._encoder(unit))
        name = f"{cell.encoder} on {cell.task} (fraction {cell.fraction:g}, seed {cell.seed})"
        try:
            lease.check()  # its failure is not written, either
            if not isinstance(outcome, Failed):
                outcome = kept(outcome, self._encoder(unit), results, lease.check)
        except LostError:
            progress.note(f"{name}: this worker was away for too long, another one has taken it over")
            return None
        if not isinstance(outcome, Failed):
            forget_failure(results, cell)
            return outcome
        failure = record_failure(results, cell, outcome.reason, outcome.trace)
        if failure.attempts > self.manner.retries:
            return outcome
        progress.note(f"{name} failed and is tried again: {outcome.reason}")
        return None

    def _has_parts(self, unit: CellUnit) -> bool:
        """Whether the features are there that a cell needs; those that nobody makes are made first.

        Where that fails its cells fail in the same way, and keep the reason.
        """
        for key, of_entry in groupby(unit.after, key=lambda part: part.key):
            if key in self.entries:
                continue
            parts = list(of_entry)
            if not is_made(parts[0], self.job.cache) and not self._no_use(unit, parts):
                if not self.makes_parts:
                    return False
                encoder = self._encoder(unit)
                one = encoder.of_sets[parts[0].dataset] if isinstance(encoder, JoinedEncoder) else encoder
                try:
                    if not made(parts, one, self.leases, self.manner.start):
                        return False
                except DiskError:
                    raise
                except THEIRS:
                    pass
            self.entries.add(key)
        return True

    def _no_use(self, unit: CellUnit, parts: list[Part]) -> bool:
        """Whether making features has ended so many workers that their cells are given up, here or elsewhere."""
        if self._given_up(unit):
            return True
        where = parts, self.job.cache, self.job.batch_size, self.leases
        if not is_deadly(*where):
            return False
        made = f"features of {parts[0].encoder} on {parts[0].dataset}"
        reason = f"{DEATHS} workers ended without a word while they made {made}: is there memory enough?"
        for one in [one for cells in self.left for one in cells if any(part.key == parts[0].key for part in one.after)]:
            record_deaths(self.job.request.results, one.cell, reason, self.manner.retries)
        forget_deaths(*where)
        return True

    def _encoder(self, unit: CellUnit) -> AnyEncoder:
        """The encoder of a cell's group: the one at hand, or a new one in its place."""
        group = together(unit.planned)
        if self.encoder is None or self.at != group:
            self.at, self.encoder = group, encoder_of(unit.planned, self.job.request, self.context)
        return self.encoder
