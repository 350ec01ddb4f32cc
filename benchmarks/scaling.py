"""The same 24 cells by one process, by 1 and 2 workers of this machine, by Slurm and by Ray: seconds, and calls.

    python benchmarks/scaling.py [--repeats 3]

Four encoders of a user's own file on three small CSVs, two protocols: 12 extractions of 120 images, 24 cells. CPU
seconds are user + system of every process of a run, the workers of a cluster among them (each writes its own down when
it ends); Slurm's and Ray's own daemons are measured apart. Slurm and Ray are started by the scripts in tests/cluster;
where one cannot be, its line says why. The cost of an executor per cell is what it takes beyond the cells themselves:
24 calls of ``api.outcomes`` in a process that has imported everything.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from report import write_report

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from cluster import ray_cluster, slurm_cluster  # noqa: E402
from cluster.daemons import marked, wait_until  # noqa: E402

ENCODERS, DATASETS, IMAGES = "ABCD", 3, 120
CELLS = len(ENCODERS) * DATASETS * 2
SOURCE = '''
from pathlib import Path
import torch
from cxrbench.encoder import Features, Preprocess
from cxrbench.plugins.loading import fixed_batch

class A(torch.nn.Module):
    """A small convolutional network. Every call leaves a line, but for those on the fixed images."""
    preprocess = Preprocess(size=96, resize="squash", mean=(0.5,), std=(0.25,), channels=1)
    seed = 0
    def __init__(self):
        super().__init__()
        torch.manual_seed(self.seed)
        self.net = torch.nn.Sequential(
            torch.nn.Conv2d(1, 32, 7, 2, 3), torch.nn.ReLU(), torch.nn.Conv2d(32, 64, 3, 2, 1), torch.nn.ReLU(),
            torch.nn.Conv2d(64, 128, 3, 1, 1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten())
    def forward(self, images):
        if not torch.equal(images[0], fixed_batch(self.preprocess)[0]):
            with open(Path(__file__).with_name("calls.txt"), "a") as log:
                log.write(f"{type(self).__name__} {len(images)}\\n")
        return Features(self.net(images))
'''
# Loaded by every process that Python starts with it in its path: user + system seconds of each, as it ends.
METER = """
import atexit, os, time
def leave():
    with open(os.environ["CXRBENCH_METER"], "a") as log:
        log.write(f"{time.process_time()}\\n")
if "CXRBENCH_METER" in os.environ:
    atexit.register(leave)
"""
BARE = """
import json, sys, time
from pathlib import Path
from cxrbench import api
from cxrbench.progress import Progress
job = api.prepare(sys.argv[1], sys.argv[2], results=Path(sys.argv[3]), cache=Path(sys.argv[4]), device="cpu")
import cxrbench.metrics.kinds, cxrbench.features.extract, torch  # what the first cell would import
began, spent = time.perf_counter(), time.process_time()
done = [outcome.state for outcome in api.outcomes(job, Progress())]
assert done == ["computed"] * len(done), done
print(json.dumps([time.perf_counter() - began, time.process_time() - spent]))
"""


@dataclass(frozen=True)
class Cost:
    """Of one run: seconds on the clock and of CPUs, and how many images encoders were shown."""

    wall: float
    cpu: float
    images: int


def make_data(folder: Path) -> tuple[str, str]:
    """``--encoder`` and ``--tasks``."""
    names = "".join(f"\nclass {name}(A):\n    seed = {k}\n" for k, name in enumerate(ENCODERS) if name != "A")
    (folder / "mine.py").write_text(SOURCE + names)
    rng, tables = np.random.default_rng(0), []
    for k in range(DATASETS):
        root = folder / f"clinic{k}"
        root.mkdir()
        lines = ["image,patient,split,bright"]
        for i in range(IMAGES):
            bright = int(rng.random() < 0.4)
            pixels = np.clip(rng.normal(90 + 20 * bright, 30, (128, 128)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / f"{i}.png")
            lines.append(f"{i}.png,p{i},{('train', 'train', 'val', 'test')[i % 4]},{bright}")
        (root / "labels.csv").write_text("\n".join(lines) + "\n")
        tables.append(root / "labels.csv")
    encoders = ",".join(f"{folder / 'mine.py'}:{name}" for name in ENCODERS)
    return encoders, ",".join(f"{table}:{protocol}" for table in tables for protocol in ("classification", "knn"))


def metered(folder: Path, command: Sequence[str], env: dict[str, str]) -> Cost:
    """Run a command and count it with all that it starts, here or by a cluster; then wait for the last to end."""
    meter, calls = folder / "meter.txt", folder / "mine" / "calls.txt"
    for path in (meter, calls):
        path.unlink(missing_ok=True)
    env = {**env, "CXRBENCH_METER": str(meter), "PYTHONPATH": str(folder / "meter"), "OMP_NUM_THREADS": "1"}
    began = time.perf_counter()
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
    wait_until(lambda: not marked(CXRBENCH_METER=str(meter)), "the end of all workers")
    cpu = sum(map(float, meter.read_text().split()))
    return Cost(wall, cpu, sum(int(line.split()[1]) for line in calls.read_text().splitlines()))


def measured(name: str, run: Callable[[Path], Cost], repeats: int, folder: Path) -> Cost:
    """The median run by CPU seconds."""
    costs = []
    for k in range(repeats):
        costs.append(run(folder / "runs" / f"{name}-{k}"))
        print(f"{name}: {costs[-1]}", file=sys.stderr, flush=True)
    return sorted(costs, key=lambda cost: cost.cpu)[len(costs) // 2]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    loads = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory(prefix="scaling-") as text:
        folder = Path(text)
        for name in ("mine", "meter", "runs"):
            (folder / name).mkdir()
        (folder / "meter" / "sitecustomize.py").write_text(METER)
        encoders, tasks = make_data(folder / "mine")
        base = [sys.executable, "-m", "cxrbench", "run", "--encoder", encoders, "--tasks", tasks, "--device", "cpu"]

        def command(*words: str, env: dict[str, str] | None = None) -> Callable[[Path], Cost]:
            def run(root: Path) -> Cost:
                folders = ["--results", str(root / "results"), "--cache", str(root / "cache")]
                return metered(folder, [*base, *folders, *words], dict(os.environ) if env is None else env)

            return run

        bare = _bare(folder, encoders, tasks, repeats)
        plain = measured("one process", command(), repeats, folder)
        rows: list[tuple[str, Cost | None, str]] = [
            ("a bare call, everything imported", bare, ""),
            ("`cxrbench run`, one process", plain, ""),
        ]
        for label, kind, options, cluster in executors(folder):
            if isinstance(cluster, str):
                rows.append((label, None, cluster))
                continue
            with cluster:
                run = command("--executor", kind, *options, env=getattr(cluster, "env", None))
                rows.append((label, measured(kind, run, repeats, folder), ""))
            loads.append(os.getloadavg()[0])
    expected = len(ENCODERS) * DATASETS * IMAGES
    table = []
    for label, cost, problem in rows:
        if cost is None:
            table.append([label, problem, "", "", ""])
            continue
        if cost.images != expected:
            raise SystemExit(f"{label}: encoders were shown {cost.images} images, not {expected}")
        more = "" if cost is bare else f"{(cost.cpu - bare.cpu) / CELLS:.2f}"
        table.append([label, f"{cost.wall:.1f}", f"{cost.cpu:.1f}", more, f"{cost.images:,}"])
    headers = ["24 cells by", "wall, s", "CPU, s", "more CPU s per cell", "images encoded"]
    note = (
        f"{DATASETS} datasets x {len(ENCODERS)} encoders x 2 protocols, {expected:,} images to be encoded: each was, "
        f"once; runs of each: {repeats}, of which the median by CPU seconds. The machine has {os.cpu_count()} cores "
        "and was shared: its load was "
        f"{min(loads):.0f} to {max(loads):.0f} meanwhile, so wall seconds say little, and CPU seconds count. What a "
        "worker costs is its start (imports, building its encoders, reading the plan), once, whatever the number of "
        "cells. CPU seconds of Slurm's and Ray's daemons are not in it; those of their jobs are."
    )
    write_report("scaling", "One plan, several executors", headers, table, note)


def _bare(folder: Path, encoders: str, tasks: str, repeats: int) -> Cost:
    """The cells in one process that has imported and planned already."""
    costs, calls = [], folder / "mine" / "calls.txt"
    for k in range(repeats):
        calls.unlink(missing_ok=True)
        root = folder / "runs" / f"bare-{k}"
        words = [sys.executable, "-c", BARE, encoders, tasks, str(root / "results"), str(root / "cache")]
        out = subprocess.check_output(words, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True)
        wall, cpu = json.loads(out.splitlines()[-1])
        costs.append(Cost(wall, cpu, sum(int(line.split()[1]) for line in calls.read_text().splitlines())))
    return Cost(statistics.median(c.wall for c in costs), statistics.median(c.cpu for c in costs), costs[0].images)


def executors(folder: Path) -> list[tuple[str, str, list[str], str | AbstractContextManager[object]]]:
    """Label, ``--executor``, its options, and the cluster to start for it, or why there is none."""
    slurm: str | slurm_cluster.Slurm = slurm_cluster.why_not() or slurm_cluster.Slurm(folder / "slurm")
    ray: str | ray_cluster.RayCluster = ray_cluster.why_not() or ray_cluster.RayCluster(folder / "ray")
    if not isinstance(ray, str):
        ray.env["PYTHONPATH"] = str(folder / "meter")  # of its nodes, which start the workers
    return [
        ("`--executor local:1`", "local:1", [], nullcontext()),
        ("`--executor local:2`", "local:2", [], nullcontext()),
        ("`--executor slurm:2`, two nodes", "slurm:2", ["--executor-option", "time=60"], slurm),
        ("`--executor ray:2`, two nodes", "ray:2", [], ray),
    ]


if __name__ == "__main__":
    main()
