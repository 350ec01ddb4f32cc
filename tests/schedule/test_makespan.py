"""Makespans against closed forms, and within Graham's bounds."""

import math

import numpy as np
import pytest

from cxrbench.schedule.makespan import Timed, longest_chain, lower_bound, makespan, total


@pytest.mark.parametrize(("cells", "workers"), [(1, 1), (7, 2), (24, 5), (300, 64), (3, 10)])
def test_equal_cells_take_as_many_rounds_as_they_fill(cells: int, workers: int) -> None:
    assert makespan([Timed(2.5)] * cells, workers) == pytest.approx(2.5 * math.ceil(cells / workers))


def test_cells_wait_for_the_features_that_they_are_made_of() -> None:
    """Two extractions of 10 s at once; then 6 cells of 3 s on two workers."""
    units = [Timed(10.0), Timed(10.0), *[Timed(3.0, (k % 2,)) for k in range(6)]]
    assert makespan(units, 2) == pytest.approx(10 + 3 * 3)
    assert longest_chain(units) == pytest.approx(13)
    assert makespan(units, 100) == pytest.approx(13)


@pytest.mark.parametrize("seed", range(20))
def test_list_scheduling_lies_within_grahams_bounds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    units = []
    for number in range(60):
        before = rng.choice(number, rng.integers(0, min(number, 3) + 1), replace=False) if number else []
        units.append(Timed(float(rng.exponential()), tuple(map(int, before))))
    for workers in (1, 2, 7, 100):
        took = makespan(units, workers)
        assert lower_bound(units, workers) <= took + 1e-9
        assert took <= total(units) / workers + (1 - 1 / workers) * longest_chain(units) + 1e-9
    assert makespan(units, 1) == pytest.approx(total(units))
    assert makespan(units, 100) == pytest.approx(longest_chain(units))


def test_nothing_takes_no_time() -> None:
    assert (makespan([], 3), lower_bound([], 3)) == (0.0, 0.0)
