"""The demo's own request, ``make demo``, computed by a real Slurm and by a real Ray: the bits of one process."""

import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from cluster import ray_cluster, slurm_cluster
from cluster.ray_cluster import RayCluster
from cluster.slurm_cluster import Slurm
from cluster.stores import assert_same_cells, assert_sound, cxrbench

ROOT = Path(__file__).parents[2]


def demo_request() -> list[str]:
    """The words of ``cxrbench run`` in the Makefile's demo."""
    shown = subprocess.run(["make", "-n", "demo"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (line,) = [one for one in shown.replace("\\\n", " ").splitlines() if "cxrbench run" in one]
    return shlex.split(line)[1:]


@dataclass(frozen=True)
class Demo:
    """``asked``: of ``cxrbench``. ``alone``: what one process makes of it. ``phantom``: in its cache."""

    asked: list[str]
    alone: Path
    phantom: Path


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo as one process does it, if there is a cluster to compare it with."""
    if slurm_cluster.why_not() and ray_cluster.why_not():
        pytest.skip(f"no cluster: {slurm_cluster.why_not()}; {ray_cluster.why_not()}")
    folder = tmp_path_factory.mktemp("demo")
    results, cache = folder / "results", folder / "cache"
    done = cxrbench(*demo_request(), "--results", results, "--cache", cache)
    assert done.returncode == 0, done.stderr
    (phantom,) = cache.glob("phantom-*")
    return Demo(demo_request(), results, phantom)


def assert_same_by(demo: Demo, folder: Path, env: Mapping[str, str], *executor: str) -> None:
    """Images are those of the one process: that they are drawn equal is no matter of executors."""
    results, cache = folder / "results", folder / "cache"
    shutil.copytree(demo.phantom, cache / demo.phantom.name)
    done = cxrbench(*demo.asked, "--results", results, "--cache", cache, *executor, env=env)
    assert done.returncode == 0, done.stderr
    assert "9 cells computed." in done.stdout
    assert_sound(results, cache)
    assert_same_cells(results, demo.alone)


def test_slurm_computes_the_demo_to_the_bit(slurm: Slurm, demo: Demo, tmp_path: Path) -> None:
    options = "--executor", "slurm:2", "--executor-option", "partition=work", "--executor-option", "time=60"
    assert_same_by(demo, tmp_path, slurm.env, *options)
    assert [*(tmp_path / "results" / "slurm").glob("*.out")], "jobs leave logs"


def test_ray_computes_the_demo_to_the_bit(ray_nodes: RayCluster, demo: Demo, tmp_path: Path) -> None:
    assert_same_by(demo, tmp_path, ray_nodes.env, "--executor", "ray")
    assert [*(tmp_path / "results" / "ray").iterdir()], "tasks leave logs"
