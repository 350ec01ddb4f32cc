"""A small data set and a small encoder, written the way a user has them: a CSV beside images, a file with a class."""

import os
import random
from functools import partial
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from PIL import Image

from support.command import CommandLine, cxrbench

os.environ["HF_HUB_OFFLINE"] = "1"
# The same examples each time, whatever an earlier run has left behind, and however slow the machine is.
hypothesis.settings.register_profile(
    "fixed", derandomize=True, database=None, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("fixed")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """The same draws, in fixtures too, whatever this process ran before: which files share one is a matter of load."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


ENCODER = '''
import os
from functools import partial
from pathlib import Path
import torch
from cxrbench.encoder import Encoder, Features, Preprocess
from cxrbench.plugins.loading import fixed_batch

class Mine(torch.nn.Module):
    """Means of 4 x 4 tiles. Every call leaves a line in calls.txt, but for those on the two fixed images."""
    preprocess = Preprocess(size=16, resize="squash", mean=(0.0,), std=(1.0,), channels=1)
    def forward(self, images):
        if torch.equal(images[0], fixed_batch(self.preprocess)[0]):
            return Features(torch.nn.functional.avg_pool2d(images, 4).flatten(1))
        with open(Path(__file__).with_name("calls.txt"), "a") as log:
            log.write(f"{len(images)}\\n")
        calls = len(Path(__file__).with_name("calls.txt").read_text().split())
        if calls > int(os.environ.get("DIE_AFTER", 10**9)):
            os.kill(os.getpid(), 9)
        return Features(torch.nn.functional.avg_pool2d(images, 4).flatten(1))

class Broken(Mine):
    """Gives NaN."""
    def forward(self, images):
        return Features(super().forward(images).pooled * torch.nan)
'''


@pytest.fixture
def encoder(tmp_path: Path) -> str:
    """The spec of an encoder in the user's own file."""
    (tmp_path / "mine.py").write_text(ENCODER)
    return f"{tmp_path / 'mine.py'}:Mine"


@pytest.fixture
def encoder_calls(tmp_path: Path) -> Path:
    """Where the encoder leaves a line per call: the number of images."""
    return tmp_path / "calls.txt"


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """The path of a CSV with 120 images of 60 patients; label ``bright`` is visible, ``coin`` is chance."""
    folder = tmp_path / "clinic"
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = ["image,patient,bright,coin"]
    for i in range(120):
        bright = int(rng.random() < 0.4)
        pixels = np.clip(rng.normal(90 + 40 * bright, 30, (24, 20)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03}.png")
        lines.append(f"{i:03}.png,p{i // 2},{bright},{int(rng.random() < 0.5)}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder / "labels.csv"


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder with a cache of its own and no data folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CXRBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CXRBENCH_DATA", raising=False)


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """``cxrbench`` as a function: words of a command; exit code, stdout and stderr."""
    return partial(cxrbench, monkeypatch, capsys)
