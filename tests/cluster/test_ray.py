"""A Ray cluster of two nodes: the bits of a local run, also where one of them fails meanwhile."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.daemons import wait_until
from cluster.ray_cluster import RayCluster
from cluster.slow_encoders import SlowWork
from cluster.stores import assert_same_cells, assert_sound, cxrbench


def test_tasks_give_the_bits_of_one_process_although_a_node_fails(
    ray_nodes: RayCluster, work: SlowWork, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "cxrbench", "run", *work.asked, "--results", str(tmp_path / "results"), "--cache",
               str(tmp_path / "cache"), "--executor", "ray"]  # fmt: skip
    env = {**ray_nodes.env, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=env, stdout=-1, stderr=-1, text=True) as run:
        try:
            wait_until(lambda: len({line.split()[0] for line in work.calls()}) > 1, "two workers at images")
            ray_nodes.kill_node(2)
            out, err = run.communicate(timeout=300)
        finally:
            run.kill()
    assert run.returncode == 0, err
    assert "8 cells computed." in out
    assert_sound(tmp_path / "results", tmp_path / "cache")
    assert_same_cells(tmp_path / "results", work.alone)


def test_what_the_cluster_has_no_room_for_is_one_line(ray_nodes: RayCluster, dataset: Path, tmp_path: Path) -> None:
    words = ["run", "--encoder", "pixels", "--tasks", f"{dataset}:knn", "--results", tmp_path / "results",
             "--executor", "ray:2", "--executor-option", "gpus=0.5"]  # fmt: skip
    done = cxrbench(*words, env=ray_nodes.env)
    assert done.returncode == 2
    assert "no worker has room" in done.stderr


def test_without_a_cluster_it_says_how_to_start_one(dataset: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="not installed here: the package ray")
    words = ["run", "--encoder", "pixels", "--tasks", f"{dataset}:knn", "--results", tmp_path / "results"]
    env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = cxrbench(*words, "--executor", "ray", "--executor-option", "address=127.0.0.1:1", env=env)
    assert (done.returncode, "no Ray cluster at 127.0.0.1:1" in done.stderr) == (2, True)
