"""A real Slurm of two nodes: the bits of a local run, whatever becomes of jobs and nodes meanwhile."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.daemons import wait_until
from cluster.slow_encoders import SlowWork, assert_bits_of_one_process
from cluster.slurm_cluster import Slurm
from cluster.stores import cxrbench


def scancel_one_task(slurm: Slurm, job: str) -> None:
    slurm.run("scancel", f"{job}_1")


def kill_a_node(slurm: Slurm, job: str) -> None:
    slurm.kill_node(2)


def tell_that_time_is_over(slurm: Slurm, job: str) -> None:
    """What Slurm sends ahead of the end of a job's time."""
    slurm.run("scancel", "--signal=USR2", job)


def preempt(slurm: Slurm, job: str) -> None:
    slurm.run("sbatch", "--partition=urgent", "--nodelist=n1", "--output=/dev/null", "--wrap=sleep 3")


@pytest.fixture
def whole(slurm: Slurm) -> Slurm:
    """With both nodes up, and no job."""
    if "slurmd-n2" not in slurm.daemons.running:
        slurm.start_node(2)
    slurm.run("scancel", "--me")
    wait_until(lambda: slurm.states() == ["idle", "idle"], "both nodes idle")
    return slurm


@pytest.mark.parametrize("trouble", [scancel_one_task, kill_a_node, tell_that_time_is_over, preempt])
def test_jobs_give_the_bits_of_one_process_whatever_happens(
    trouble: Callable[[Slurm, str], None], whole: Slurm, work: SlowWork, tmp_path: Path
) -> None:
    before = {*whole.jobs()}

    def begun() -> None:
        wait_until(lambda: len(work.calls()) > 10, "the first images")
        (job,) = {name.split("_")[0] for name in {*whole.jobs()} - before}
        trouble(whole, job)

    executor = "--executor", "slurm:2", "--executor-option", "partition=work", "--executor-option", "time=60"
    assert_bits_of_one_process(work, tmp_path, executor, whole.env, begun)


def test_what_slurm_refuses_is_one_line(slurm: Slurm, dataset: Path, tmp_path: Path) -> None:
    words = ["run", "--encoder", "pixels", "--tasks", f"{dataset}:knn", "--executor", "slurm:2", "--executor-option",
             "time=60"]  # fmt: skip
    folders = ["--results", tmp_path / "results", "--cache", tmp_path / "cache"]
    done = cxrbench(*words, *folders, "--executor-option", "partition=none", env=slurm.env)
    assert done.returncode == 2
    assert "nvalid partition" in done.stderr.splitlines()[-1]
    done = cxrbench(*words, *folders, "--executor-option", "partitoin=work", env=slurm.env)
    assert done.returncode == 2
    assert "partitoin" in done.stderr.splitlines()[-1]


def test_without_slurm_it_says_so(dataset: Path, tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="not installed here: the package submitit")
    words = ["run", "--encoder", "pixels", "--tasks", f"{dataset}:knn", "--results", tmp_path / "results"]
    for executor, option, said in (
        ("slurm:2", "time=60", "there is no sbatch here"),
        ("slurm", "time=60", "say how many workers"),
        ("slurm:2", "partition=work", "say how long a job may take"),
        ("slurm:2", "time=soon", "time='soon' is no time"),
    ):
        done = cxrbench(*words, "--executor", executor, "--executor-option", option, env={"PATH": str(tmp_path)})
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
