"""How long units of work take on several workers, some after others."""

import heapq
from collections.abc import Sequence
from typing import NamedTuple


class Timed(NamedTuple):
    """A unit that takes ``seconds`` and begins once the units of these numbers are over, all smaller than its own."""

    seconds: float
    after: tuple[int, ...] = ()


def makespan(units: Sequence[Timed], workers: int) -> float:
    """Seconds until all are done, where a worker that is free takes the first unit that can begin (list scheduling).

    At most ``total / workers + (1 - 1 / workers) * longest_chain`` (Graham 1969), so at most twice what can be had.
    """
    waits_for = [len(unit.after) for unit in units]
    then: list[list[int]] = [[] for _ in units]
    for number, unit in enumerate(units):
        for before in unit.after:
            then[before].append(number)
    ready = [number for number, count in enumerate(waits_for) if not count]  # ascending: a heap
    running: list[tuple[float, int]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < workers:
            number = heapq.heappop(ready)
            heapq.heappush(running, (now + units[number].seconds, number))
        now, done = heapq.heappop(running)
        for number in then[done]:
            waits_for[number] -= 1
            if not waits_for[number]:
                heapq.heappush(ready, number)
    return now


def total(units: Sequence[Timed]) -> float:
    """Seconds of all units one after the other."""
    return float(sum(unit.seconds for unit in units))


def longest_chain(units: Sequence[Timed]) -> float:
    """Seconds that no number of workers can go below: the longest of units that must follow each other."""
    ends: list[float] = []
    for unit in units:
        ends.append(unit.seconds + max((ends[before] for before in unit.after), default=0.0))
    return max(ends, default=0.0)


def lower_bound(units: Sequence[Timed], workers: int) -> float:
    """No schedule on so many workers is shorter: ``max(total / workers, longest_chain)``."""
    return max(total(units) / workers, longest_chain(units))
