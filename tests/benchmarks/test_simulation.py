"""The simulation of the worker loop, where the answer is known."""

import math
from dataclasses import replace
from typing import Any

import pytest
from simulated_workers import Costs, Machines, Simulation, Work, first_group
from simulation import work_of

from cxrbench.schedule.graph import Graph, Group
from cxrbench.schedule.makespan import lower_bound
from cxrbench.schedule.worker import begun_at

FREE = Costs(settled=0, missing=0, refused=0, listing=0, part=0, computed=0, beat=0, longest_wait=0.0)
IDEAL = Machines(1, latency=0.0, capacity=math.inf)


@pytest.mark.parametrize(("groups", "workers"), [(6, 1), (6, 4), (6, 6), (10, 7), (3, 100)])
def test_equal_cells_without_overhead_take_as_many_rounds_as_they_fill(groups: int, workers: int) -> None:
    work = Work(((),) * groups, ((2.0,) * 15,) * groups)
    tally = Simulation(work, FREE, replace(IDEAL, workers=workers)).run()
    assert tally.makespan == pytest.approx(2 * math.ceil(15 * groups / workers))
    assert (tally.computed, tally.operations, tally.lost) == (15 * groups, 0, 0)


def test_cells_wait_for_all_parts_of_their_features() -> None:
    """Four parts of 3 s by two workers, then five cells of 1 s."""
    tally = Simulation(Work(((3.0,) * 4,), ((1.0,) * 5,)), FREE, replace(IDEAL, workers=2)).run()
    assert tally.makespan == pytest.approx(6 + 3)


def test_one_worker_takes_the_sum_and_the_operations_that_are_counted_by_hand() -> None:
    """Two groups of a part and three cells: the plan; each group's features; each cell."""
    work, costs = Work(((5.0,), (5.0,)), ((1.0,) * 3,) * 2), Costs(beat=0)
    tally = Simulation(work, costs, Machines(1, latency=0.5, capacity=math.inf)).run()
    of_group = (costs.missing + costs.part + costs.computed) + 3 * (costs.missing + costs.computed)
    assert tally.operations == 6 * costs.missing + 2 * of_group
    assert tally.makespan == pytest.approx(2 * 5 + 6 * 1 + 0.5 * tally.operations)


@pytest.mark.parametrize("listed", [False, True])
def test_whatever_befalls_workers_every_cell_is_computed_and_no_bound_is_beaten(listed: bool) -> None:
    work = work_of((640, 6400), (10.0, 100.0), probe=0.7, other=20.0, part=640)
    for seed in range(3):
        machines = Machines(5, preempted=300.0, frozen=300.0, slow=0.2, away=20.0, stands=90.0, seed=seed)
        tally = Simulation(work, Costs(listed=listed), machines).run()
        assert tally.computed == 2 * 2 * 15
        assert tally.makespan >= lower_bound(work.units(), 5)
        assert tally.lost > 0


@pytest.mark.parametrize("workers", [1, 3, 8, 64])
def test_workers_begin_where_the_real_ones_do(workers: int) -> None:
    groups: Any = tuple(Group(tuple((number, cell) for cell in range(15))) for number in range(40))  # type: ignore[arg-type]
    for worker in range(workers):
        first: Any = begun_at(Graph(groups), worker / workers)[0][0]
        assert first[0] == first_group(worker, workers, 40)


def test_parts_are_cut_at_batches_and_hold_all_images() -> None:
    work = work_of((1000,), (10.0,), probe=0.0, other=1.0, part=300)
    assert sum(work.parts[0]) == pytest.approx(100)
    assert len(work.parts[0]) == 4  # 256 images, four batches of 64, in each
