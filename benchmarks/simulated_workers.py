"""A discrete-event simulation of the worker loop on a shared results folder.

Workers do what ``cxrbench/schedule/worker.py`` does: each begins at another place (``begun_at``), goes through the
groups (an encoder on a data set) in order, makes features that nobody makes, takes cells that nobody has, and waits
where all that is left is others'. The shared file system is one server with a latency and so many operations per
second; an operation is an open, a stat, a listing, a creation or a removal, counted in that code (``Costs``).

Workers are preempted (half of them by a signal, which gives leases back, half without a word), come back after some
minutes and go on from the journal; some are slow; some stand still for longer than their lease, whose unit somebody
else then does as well.
"""

import heapq
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cxrbench.schedule.makespan import Timed


@dataclass(frozen=True)
class Work:
    """``parts[g]``: seconds of each part of a group's features; ``cells[g]``: seconds of each of its cells."""

    parts: tuple[tuple[float, ...], ...]
    cells: tuple[tuple[float, ...], ...]

    def units(self) -> list[Timed]:
        """As a graph, for its bounds."""
        units: list[Timed] = []
        for parts, cells in zip(self.parts, self.cells, strict=True):
            first = len(units)
            units += [Timed(seconds) for seconds in parts]
            before = tuple(range(first, first + len(parts)))
            units += [Timed(seconds, before) for seconds in cells]
        return units


@dataclass(frozen=True)
class Costs:
    """Operations on the shared file system. ``listed``: a worker lists the folder of a group's cells in place of asking
    for every cell, and takes it from the name of a file that a cell is there.
    """

    listed: bool = False
    longest_wait: float = 5.0
    settled: int = 4  # a cell that is there: .json, .parquet twice, its size
    missing: int = 2
    refused: int = 5  # a lease of somebody else: make the folder, list it, open the file
    listing: int = 2
    part: int = 3
    computed: int = 26  # taken, looked up again, asked whether lost, saved (made, synced, renamed), released
    beat: int = 2  # every quarter of a lease

    def plan(self, groups: int, cells: int) -> int:
        """Looking at an empty store before the first unit."""
        return groups * self.listing if self.listed else cells * self.missing


@dataclass(frozen=True)
class Machines:
    """What the workers run on. Times in seconds; ``preempted``, ``frozen``: mean time between two, of one worker."""

    workers: int
    latency: float = 0.001
    capacity: float = 20_000.0
    ttl: float = 60.0
    preempted: float = math.inf
    away: float = 300.0
    frozen: float = math.inf
    stands: float = 180.0
    slow: float = 0.0
    slowness: float = 3.0
    seed: int = 0


@dataclass
class Tally:
    """What came of it, in seconds and operations. ``lost``: work that was thrown away; ``leases``: operations on them;
    ``spells``: operations in each ten seconds.
    """

    makespan: float = 0.0
    operations: float = 0.0
    leases: float = 0.0
    lost: float = 0.0
    worked: float = 0.0
    computed: int = 0
    spells: dict[int, float] = field(default_factory=dict)

    @property
    def peak(self) -> float:
        """Operations per second in the worst ten seconds."""
        return max(self.spells.values(), default=0.0) / SPELL


class Simulation:
    """``undone[g]``: cells of a group that are not saved; ``free[g]``: those that nobody has; ``open_parts[g]``:
    seconds of the parts that nobody makes; ``missing[g]``: parts that are not made; ``known[w, g]``: cells that a
    worker has seen saved. A process yields the seconds until it goes on, infinity where it waits for others.
    """

    def __init__(self, work: Work, costs: Costs, machines: Machines) -> None:
        self.work, self.costs, self.machines = work, costs, machines
        self.rng = np.random.default_rng(machines.seed)
        self.size = np.array([len(cells) for cells in work.cells])
        self.undone, self.free = self.size.copy(), [list(cells) for cells in work.cells]
        self.open_parts = [list(parts) for parts in work.parts]
        self.missing = np.array([len(parts) for parts in work.parts])
        self.ready = np.array([self._startable(group) for group in range(len(self.size))])
        self.free_cells = self.size.copy()
        self.known = np.zeros((machines.workers, len(self.size)), np.int64)
        self.pace = np.where(
            np.arange(machines.workers) < round(machines.slow * machines.workers), machines.slowness, 1.0
        )
        self.rng.shuffle(self.pace)
        self.events: list[tuple[float, int, Process]] = []
        self.number, self.idle = itertools.count(), list[Process]()
        self.server, self.now, self.tally = 0.0, 0.0, Tally()

    def run(self) -> Tally:
        """From an empty store to a full one."""
        for worker in range(self.machines.workers):
            self._in(0.0, self._worker(worker))
        while self.events and self.undone.any():
            self.now, _, process = heapq.heappop(self.events)
            wait = next(process, None)
            if wait is not None and wait < math.inf:
                self._in(wait, process)
            elif wait is not None:
                self.idle.append(process)
        self.tally.makespan = self.now
        return self.tally

    def _in(self, seconds: float, process: "Process") -> None:
        heapq.heappush(self.events, (self.now + seconds, next(self.number), process))

    def _startable(self, group: int) -> bool:
        """Whether somebody who comes now finds something to do."""
        return bool(self.open_parts[group] if self.missing[group] else self.free[group])

    def _changed(self, group: int) -> None:
        """Something was taken, or is free again: then as many of those who wait will find it as there is."""
        self.ready[group], self.free_cells[group] = self._startable(group), len(self.free[group])
        count = len(self.open_parts[group] if self.missing[group] else self.free[group])
        for _ in range(min(count, len(self.idle))):
            lucky = self.idle.pop(int(self.rng.integers(len(self.idle))))
            self._in(float(self.rng.uniform(0, self.costs.longest_wait)), lucky)

    def _operate(self, operations: float) -> float:
        """Seconds until the server has answered so many that are asked one after the other."""
        self.server = max(self.server, self.now) + operations / self.machines.capacity
        takes = self.server - self.now + operations * self.machines.latency
        self._count(operations, self.now, self.now + takes)
        return takes

    def _count(self, operations: float, since: float, until: float) -> None:
        """Add operations that are spread over a time."""
        self.tally.operations += operations
        first, last = int(since // SPELL), int(until // SPELL)
        for spell in range(first, last + 1):
            share = operations / (last - first + 1)
            self.tally.spells[spell] = self.tally.spells.get(spell, 0.0) + share

    def _worker(self, me: int) -> "Process":
        count = len(self.size)
        at = first_group(me, self.machines.workers, count)
        yield self._operate(self.costs.plan(count, int(self.size.sum())))
        while self.undone.any():
            ahead = self._next(at)
            passed = np.arange(at, at + count if ahead is None else at + ahead + 1) % count
            looks = self._look(me, passed)
            if ahead is None:
                since = self.now
                yield math.inf
                passes = (self.now - since) / max(1e-9, self.costs.longest_wait + looks * self.machines.latency)
                self._count(looks * passes, since, self.now)
                self.tally.leases += looks * passes / 2
                continue
            yield self._operate(looks)
            at = int(passed[-1])
            if self._startable(at):  # else somebody was faster
                yield from self._unit(me, at)

    def _next(self, at: int) -> int | None:
        """How many groups after ``at`` the first comes in which there is something to do; round the end."""
        for since, until in ((at, len(self.size)), (0, at)):
            if until > since and self.ready[k := since + int(self.ready[since:until].argmax())]:
                return (k - at) % len(self.size)
        return None

    def _look(self, me: int, passed: NDArray[np.int64]) -> float:
        """Operations of a worker that passes these groups."""
        costs, left = self.costs, self.undone[passed]
        saved, waits = self.size[passed] - left, self.missing[passed] > 0
        unknown, busy = saved - self.known[me, passed], left > 0
        looked = self.known[me, passed] < self.size[passed]
        self.known[me, passed] = saved
        taken = left - self.free_cells[passed]  # passed before the first that is free
        if costs.listed:
            each = np.where(waits, costs.part, costs.refused * taken)
            return float(costs.listing * looked.sum() + each[busy].sum())
        each = (costs.missing + costs.refused) * taken + costs.missing * (taken < left)
        each = np.where(waits, costs.missing + costs.part, each)
        return float(costs.settled * unknown.sum() + each[busy].sum())

    def _unit(self, me: int, group: int) -> "Process":
        """Make a part of a group's features, or compute a cell; or be interrupted, and come back later."""
        machines, of_part = self.machines, bool(self.missing[group])
        units = self.open_parts[group] if of_part else self.free[group]
        seconds, pace = units.pop(), float(self.pace[me])
        self._changed(group)
        since, takes = self.now, seconds * pace + self._operate(self.costs.computed)
        dies, stands = (
            float(self.rng.exponential(mean)) if mean < math.inf else mean
            for mean in (machines.preempted, machines.frozen)
        )
        self.tally.leases += 3 + self.costs.beat * min(takes, dies) / (machines.ttl / 4)
        self.tally.worked += min(takes, dies)
        if dies < takes:
            yield dies
            kept = min(dies / pace, seconds) if of_part else 0.0  # a journal has what was finished
            self.tally.lost += dies - kept * pace
            silent = self.rng.random() < 0.5  # without a signal its lease must first be found dead
            self._in(machines.ttl * 1.5 if silent else 0.0, self._given_back(group, units, seconds - kept))
            yield machines.away
            yield self._operate(self.costs.plan(len(self.size), int(self.size.sum())))
            self.known[me] = self.size - self.undone
            return
        if stands < takes and not of_part:
            self._in(stands + machines.ttl, self._given_back(group, units, seconds))
            self.tally.lost += takes
            yield takes + machines.stands
            return
        yield takes
        self._count(self.costs.beat * takes / (machines.ttl / 4), since, self.now)
        if of_part:
            self.missing[group] -= 1
        else:
            self.undone[group] -= 1
            self.known[me, group] += 1
            self.tally.computed += 1
        self._changed(group)

    def _given_back(self, group: int, units: list[float], seconds: float) -> "Process":
        """A unit that is free again."""
        units.append(seconds)
        self._changed(group)
        yield from ()


Process = Iterator[float]
SPELL = 10.0  # seconds


def first_group(worker: int, workers: int, groups: int) -> int:
    """Where a worker begins, as ``begun_at`` has it of groups of one size."""
    return int(groups * worker / workers)
