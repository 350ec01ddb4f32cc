"""A Ray cluster of two nodes: the bits of a local run, also where one of them fails meanwhile."""

import os
from pathlib import Path

import pytest

from cluster.daemons import wait_until
from cluster.ray_cluster import RayCluster
from cluster.slow_encoders import SlowWork, assert_bits_of_one_process
from cluster.stores import cxrbench


def test_tasks_give_the_bits_of_one_process_although_a_node_fails(
    ray_nodes: RayCluster, work: SlowWork, tmp_path: Path
) -> None:
    def trouble() -> None:
        wait_until(lambda: len({line.split()[0] for line in work.calls()}) > 1, "two workers at images")
        ray_nodes.kill_node(2)

    assert_bits_of_one_process(work, tmp_path, ("--executor", "ray"), ray_nodes.env, trouble)


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
