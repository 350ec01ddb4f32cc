"""Clusters for a module of tests: started when the first test asks for one, stopped after the last."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import ray_cluster, slurm_cluster


@pytest.fixture(scope="module")
def slurm() -> Iterator[slurm_cluster.Slurm]:
    """A Slurm of two nodes of one core."""
    if problem := slurm_cluster.why_not():
        pytest.skip(f"no Slurm: {problem}")
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, slurm_cluster.Slurm(Path(folder)) as running:
        yield running


@pytest.fixture(scope="module")
def ray_nodes() -> Iterator[ray_cluster.RayCluster]:
    """A Ray cluster of two nodes with one core each, and half of a GPU that is not there."""
    if problem := ray_cluster.why_not():
        pytest.skip(f"no Ray: {problem}")
    with tempfile.TemporaryDirectory(prefix="ray-") as folder, ray_cluster.RayCluster(Path(folder)) as running:
        yield running
