"""A worker that is stopped for longer than its lease, and goes on when its work has been done by another one."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.daemons import wait_until
from cluster.stores import assert_same_cells, assert_sound, cxrbench

LEASE = 2
"""Seconds, of the leases of cells; those of features last a minute."""
ASKED = ["--fractions", "0.5,1", "--seeds", "4"]
SLOW = '''
import time
import torch
from cxrbench.encoder import Features, Preprocess
from cxrbench.plugins.loading import fixed_batch

class Slow(torch.nn.Module):
    """Means of 4 x 4 tiles, a tenth of a second per batch."""
    preprocess = Preprocess(size=16, resize="squash", mean=(0.0,), std=(1.0,), channels=1)
    def forward(self, images):
        if not torch.equal(images[0], fixed_batch(self.preprocess)[0]):
            time.sleep(0.1)
        return Features(torch.nn.functional.avg_pool2d(images, 4).flatten(1))
'''


def worker(folder: Path, name: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "cxrbench", "worker", "--results", str(folder / "shared"), "--cache",
               str(folder / "cache-shared"), "--lease", str(LEASE), "--name", name, "--batch-size", "4"]  # fmt: skip
    with open(folder / f"{name}.log", "wb") as log:
        return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=log, stderr=log)


def stopped(pid: int) -> bool:
    """Whether a process stands still."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def caught(late: subprocess.Popen[bytes], has: Callable[[], bool]) -> bool:
    """Stop a worker at a moment at which ``has`` holds. False if it has ended before there was one."""
    while late.poll() is None:
        if has():
            late.send_signal(signal.SIGSTOP)
            wait_until(lambda: late.poll() is not None or stopped(late.pid), "a stopped worker")
            if late.poll() is None and has():
                return True
            late.send_signal(signal.SIGCONT)
        time.sleep(0.02)
    return False


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that end with the test."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for one in processes:
        one.kill()
        one.wait()


@pytest.mark.parametrize("while_it_has", ["features", "a cell"])
def test_a_worker_that_wakes_up_too_late_changes_nothing(
    while_it_has: str, dataset: Path, tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    (tmp_path / "mine.py").write_text(SLOW)
    asked = ["--encoder", f"{tmp_path / 'mine.py'}:Slow", "--tasks", f"{dataset}:classification,{dataset}:knn", *ASKED]
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    done = cxrbench("run", *asked, "--results", alone, "--cache", tmp_path / "cache-alone", "--batch-size", "4")
    assert done.returncode == 0, done.stderr
    leases = {"a cell": shared / "leases", "features": tmp_path / "cache-shared" / "features"}[while_it_has]

    def has() -> bool:
        """Whether somebody holds a lease: a file of a generation, ``NAME.1``."""
        names = itertools.chain.from_iterable(names for _, _, names in os.walk(leases))  # of folders that may vanish
        return any(name.rpartition(".")[2].isdigit() for name in names)

    for _ in range(10):
        shutil.copytree(alone / "requests", shared / "requests")
        late = worker(tmp_path, "late")
        started.append(late)
        if caught(late, has):
            break
        assert late.wait() == 0, (tmp_path / "late.log").read_text()
        shutil.rmtree(shared)
        shutil.rmtree(tmp_path / "cache-shared")
    else:
        pytest.fail(f"ten workers came and went without being seen to have {while_it_has}")
    other = worker(tmp_path, "other")
    started.append(other)
    assert other.wait(900) == 0, (tmp_path / "other.log").read_text()
    before = {path: path.stat().st_mtime_ns for path in (shared / "cells").rglob("*.parquet")}
    assert_same_cells(shared, alone)
    late.send_signal(signal.SIGCONT)
    assert late.wait(900) == 0, (tmp_path / "late.log").read_text()
    assert {path: path.stat().st_mtime_ns for path in (shared / "cells").rglob("*.parquet")} == before
    assert_sound(shared, tmp_path / "cache-shared")
    assert_same_cells(shared, alone)
