"""Clusters for a module of tests: started when the first test asks for one, stopped after the last."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import ray_cluster, slurm_cluster
from cluster.slow_encoders import SlowWork, slow_work


@pytest.fixture(scope="module")
def slurm() -> Iterator[slurm_cluster.Slurm]:
    """A Slurm of two nodes of one core."""
    if problem := slurm_cluster.why_not():
        pytest.skip(f"no Slurm: {problem}")
    pytest.importorskip("submitit", reason="not installed here: the package submitit")
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, slurm_cluster.Slurm(Path(folder)) as running:
        yield running


@pytest.fixture(scope="module")
def ray_nodes() -> Iterator[ray_cluster.RayCluster]:
    """A Ray cluster of two nodes with one core each, and half of a GPU that is not there."""
    if problem := ray_cluster.why_not():
        pytest.skip(f"no Ray: {problem}")
    with tempfile.TemporaryDirectory(prefix="ray-") as folder, ray_cluster.RayCluster(Path(folder)) as running:
        yield running


@pytest.fixture(scope="module")
def work_once(tmp_path_factory: pytest.TempPathFactory) -> SlowWork:
    """Work of some seconds, and what one process makes of it."""
    return slow_work(tmp_path_factory.mktemp("slow"), seconds=0.2)


@pytest.fixture
def work(work_once: SlowWork) -> SlowWork:
    """The same, with no calls counted."""
    work_once.calls_file.unlink(missing_ok=True)
    return work_once
