"""Workers share a plan: every cell once, with the bits of one process, whatever ends a worker or keeps it waiting."""

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cxrbench import api
from cxrbench.engine.cached_encoder import CachedEncoder
from cxrbench.engine.plan import PlannedCell
from cxrbench.engine.results import Results
from cxrbench.files.leases import Leases
from cxrbench.predictions import Predictions
from cxrbench.progress import Progress
from cxrbench.schedule import worker as workers
from cxrbench.schedule.failures import forget_failure, load_failures
from cxrbench.schedule.graph import graph_of
from cxrbench.schedule.manner import Manner
from cxrbench.task import Cell
from support.shared_work import alone, asked, by_turns, same_bits, worker

pytestmark = pytest.mark.usefixtures("folders")

COORDINATES = ("encoder", "dataset", "protocol", "fraction", "seed")
TWICE_UNLUCKY = """
class Unlucky(Mine):
    \"\"\"Fails as often as unlucky.txt has lines.\"\"\"
    def forward(self, images):
        if len(images) > 2:
            left = Path(__file__).with_name("unlucky.txt")
            lines = left.read_text().splitlines()
            if lines:
                left.write_text("\\n".join(lines[1:]))
                raise ValueError(lines[0])
        return super().forward(images)
"""


@pytest.fixture
def calls(encoder_calls: Path) -> Path:
    """Where the encoder leaves a line per call; nothing so far."""
    encoder_calls.write_text("")
    return encoder_calls


def states(told: list[api.Outcome]) -> list[str]:
    return sorted(one.state for one in told)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_workers_do_every_cell_once_with_the_bits_of_a_run(
    count: int, encoder: str, dataset: Path, calls: Path
) -> None:
    alone(asked(encoder, dataset, "one", cache="cache-one"))
    by_one = calls.read_text()
    calls.write_text("")
    request = asked(encoder, dataset, "two", cache="cache-two")
    manners = [Manner(number / count) for number in range(count)]
    told = by_turns([worker(request, manner) for manner in manners])
    computed = [{tuple(one.cell.values()) for one in mine if one.state == "computed"} for mine in told]
    assert [len(mine) for mine in told] == [8] * count  # each tells of every cell
    assert sum(map(len, computed)) == len(set().union(*computed)) == 8
    assert all(computed)
    assert calls.read_text() == by_one
    same_bits("one", "two")
    assert not [path for path in Path("two/leases").rglob("*") if path.is_file()]
    assert next(worker(request, manners[0]), None) is None  # nothing is left


def test_a_cell_that_fails_is_tried_again_and_keeps_its_traceback(encoder: str, dataset: Path) -> None:
    file = Path(encoder.rpartition(":")[0])
    file.write_text(file.read_text() + TWICE_UNLUCKY)
    request = asked(f"{file}:Unlucky", dataset, "results")
    left = file.with_name("unlucky.txt")
    left.write_text("\n".join(f"bad luck {i}" for i in range(100)))
    told = list(worker(request, Manner(retries=1)))
    assert states(told) == ["computed"] * 4 + ["failed"] * 4
    failures = load_failures(Path("results"))
    assert [failure.attempts for failure in failures] == [2] * 4
    assert all("raise ValueError(lines[0])" in failure.trace for failure in failures)
    assert all("ValueError: bad luck" in failure.reason for failure in failures)
    assert states(list(worker(request, Manner(retries=1)))) == ["failed"] * 4  # given up: nobody tries again
    assert len(left.read_text().splitlines()) < 100
    left.write_text("once more")
    assert states(list(worker(request, Manner(retries=4)))) == ["computed"] * 4
    assert load_failures(Path("results")) == []


@pytest.mark.parametrize("meanwhile", ["it computed", "it wrote"])
def test_a_worker_that_was_away_too_long_saves_nothing(
    meanwhile: str, encoder: str, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = asked(encoder, dataset, "results")
    notes: list[str] = []

    class Noted(Progress):
        def note(self, message: str) -> None:
            notes.append(message)

    def take_over(cell: Cell) -> None:
        lease = workers.lease_path(Results(Path("results")), cell)
        lease.with_name(f"{lease.name}.2").write_text("{}")

    compute, saved = workers.computed, Results.save

    def computed(planned: PlannedCell, encoder: CachedEncoder) -> workers.Outcome:
        outcome = compute(planned, encoder)
        take_over(planned.cell)
        return outcome

    def save(results: Results, cell: Cell, made: Predictions, permit: Callable[[], None]) -> None:
        def last() -> None:
            take_over(cell)
            permit()

        saved(results, cell, made, last)

    if meanwhile == "it computed":
        monkeypatch.setattr(workers, "computed", computed)
    else:
        monkeypatch.setattr(Results, "save", save)
    assert list(worker(request, Manner(until_idle=True), Noted())) == []
    assert [path for path in Path("results", "cells").rglob("*") if path.is_file()] == []
    assert len(notes) == 8
    assert "another one has taken it over" in notes[0]


def test_a_killed_worker_leaves_its_cell_to_the_next(encoder: str, dataset: Path, calls: Path) -> None:
    request = asked(encoder, dataset, "results", batch_size=16)
    pid = os.fork()
    if pid == 0:  # dies in its third call, holding a lease and half of the features
        os.environ["DIE_AFTER"] = "2"
        list(worker(request, Manner()))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9
    assert states(list(worker(request, Manner()))) == ["computed"] * 8
    alone(asked(encoder, dataset, "one", cache="cache-one", batch_size=16))
    same_bits("one", "results")


def test_of_one_that_is_killed_as_it_has_saved_no_lease_is_left(
    encoder: str, dataset: Path, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, saved = asked(encoder, dataset, "results"), Results.save

    def save(*given: Any) -> None:
        saved(*given)
        os.kill(os.getpid(), signal.SIGKILL)

    for _ in range(2):  # the second begins at the second cell
        if (pid := os.fork()) == 0:
            monkeypatch.setattr(Results, "save", save)
            list(worker(request, Manner()))
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert len([path for path in Path("results", "leases").rglob("*") if path.is_file()]) == 2
    assert states(list(worker(request, Manner()))) == ["computed"] * 6
    assert [path for path in Path("results", "leases").rglob("*") if path.is_file()] == []


def test_processes_share_the_extraction_of_one_dataset(
    encoder: str, dataset: Path, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone(asked(encoder, dataset, "one", cache="cache-one", batch_size=16))
    by_one = sorted(calls.read_text().split())
    calls.write_text("")
    monkeypatch.setattr(workers, "graph_of", partial(graph_of, part_rows=32))
    request = asked(encoder, dataset, "two", cache="cache-two", batch_size=16)
    children = []
    for start in (0.0, 0.5):
        if (pid := os.fork()) == 0:
            try:
                list(worker(request, Manner(start)))
                os._exit(0)
            finally:
                os._exit(1)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0, 0]
    assert sorted(calls.read_text().split()) == by_one
    same_bits("one", "two")
    assert not list(Path("cache-two").rglob("*.parts"))


def test_a_cell_that_ends_every_worker_is_given_up(encoder: str, dataset: Path) -> None:
    request = asked("pixels", dataset, "results") | {"encoders": ["pixels"]}
    job = api.prepare(**request)  # type: ignore[arg-type]
    cell = job.plan.cells[1].cell
    path = workers.lease_path(Results(Path("results")), cell)
    for deaths in (4, 5):
        for _ in range(deaths):
            if (pid := os.fork()) == 0:
                Leases().acquire(path, "a cell that is too large")
                os._exit(0)
            os.waitpid(pid, 0)
        told = list(worker(request, Manner()))
        if deaths == 4:
            assert states(told) == ["computed"] * 4
            Results(Path("results")).path(cell).unlink()
        else:
            assert [(one.state, "memory" in one.reason) for one in told] == [("failed", True)]
    assert [failure.attempts for failure in load_failures(Path("results"))] == [3]
    assert states(alone(request)) == ["computed"]  # a new run tries it again


def test_features_that_end_every_worker_are_given_up_and_stop_nothing_else(
    encoder: str, dataset: Path, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are made before any cell is claimed, so no cell's lease counts who ended. A new run tries them again."""
    request = asked(encoder, dataset, "results", batch_size=16)
    monkeypatch.setenv("DIE_AFTER", "0")
    for _ in range(5):
        if (pid := os.fork()) == 0:
            list(worker(request, Manner()))
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9
    told = list(worker(request, Manner()))  # would die, too
    assert states(told) == ["computed"] * 4 + ["failed"] * 4
    assert {one.reason.partition(" made ")[0] for one in told if one.state == "failed"} == {
        "5 workers ended without a word while they"
    }
    assert {failure.attempts for failure in load_failures(Path("results"))} == {3}
    monkeypatch.delenv("DIE_AFTER")
    for failure in load_failures(Path("results")):  # as a new run does
        forget_failure(Results(Path("results")), Cell(*(failure.cell[name] for name in COORDINATES)))
    assert states(list(worker(request, Manner()))) == ["computed"] * 4
