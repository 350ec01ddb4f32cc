"""A segmentation run that is killed goes on: no finished cell is computed again, and the figures are the same."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

ENCODERS = """
import os, signal
import torch
from cxrbench.encoder import Features, Preprocess

class Tiles(torch.nn.Module):
    preprocess = Preprocess(size=32, resize="squash", mean=(0.0,), std=(1.0,), channels=1)
    def forward(self, images):
        maps = tuple(torch.nn.functional.avg_pool2d(images, s).expand(-1, 2, -1, -1) for s in (4, 8, 16, 32))
        return Features(maps[0].mean((2, 3)), maps)

class Blurred(Tiles):
    calls = 0

    def forward(self, images):
        Blurred.calls += len(images) > 2  # not those on the two fixed images
        if "KILLED" in os.environ and Blurred.calls == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(torch.nn.functional.avg_pool2d(images, 3, 1, 1))
"""


def write_clinic(root: Path) -> Path:
    """48 images of 48 patients with a bright disc each, and masks of the discs."""
    rng, rows = np.random.default_rng(0), []
    y, x = np.mgrid[:40, :40]
    (root / "mine.py").write_text(ENCODERS)
    for n in range(48):
        cx, cy, r = rng.integers(10, 30), rng.integers(10, 30), rng.integers(4, 9)
        disc = (x - cx) ** 2 + (y - cy) ** 2 < r**2
        image = np.clip(80 + 90 * disc + rng.normal(0, 15, disc.shape), 0, 255).astype(np.uint8)
        Image.fromarray(image).save(root / f"{n}.png")
        Image.fromarray((disc * 255).astype(np.uint8)).save(root / f"{n}_mask.png")
        split = "train" if n < 24 else "val" if n < 34 else "test"
        rows.append((f"{n}.png", f"{n}_mask.png", f"p{n}", split))
    pd.DataFrame(rows, columns=["image", "mask", "patient", "split"]).to_csv(root / "labels.csv", index=False)
    return root / "labels.csv"


def command(data: Path, results: Path, epochs: int) -> list[str]:
    encoders = ",".join(f"{data.parent / 'mine.py'}:{name}" for name in ("Tiles", "Blurred"))
    code = "import torch; torch.set_num_threads(1); from cxrbench.cli.main import main; main()"
    where = ["--results", str(results), "--cache", str(results.parent / "cache"), "--device", "cpu"]
    what = ["--encoder", encoders, "--tasks", f"{data}:segmentation", "--epochs", str(epochs)]
    return [sys.executable, "-c", code, "run", *what, *where]


def cells(results: Path) -> dict[str, Path]:
    return {path.parent.name.rpartition("Tiles")[1] or "Blurred": path for path in results.rglob("cells/**/*.parquet")}


def test_killed_between_and_inside_cells(tmp_path: Path) -> None:
    data, env = write_clinic(tmp_path), {**os.environ, "OMP_NUM_THREADS": "1"}
    (tmp_path / "whole").mkdir()
    whole = subprocess.run(command(data, tmp_path / "whole" / "results", 12), env=env, capture_output=True, text=True)
    assert whole.returncode == 0, whole.stderr
    (tmp_path / "cut").mkdir()
    results = tmp_path / "cut" / "results"
    killed = subprocess.run(command(data, results, 12), env={**env, "KILLED": "1"}, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL  # the first cell is there, the second is at work
    ((first, path),) = cells(results).items()
    stamp, content = path.stat().st_mtime_ns, path.read_bytes()
    again = subprocess.run(command(data, results, 12), env=env, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "1 cell computed, 1 finished before" in again.stdout
    assert (cells(results)[first].stat().st_mtime_ns, cells(results)[first].read_bytes()) == (stamp, content)
    for name, uncut in cells(tmp_path / "whole" / "results").items():
        pd.testing.assert_frame_equal(pd.read_parquet(uncut), pd.read_parquet(cells(results)[name]))
