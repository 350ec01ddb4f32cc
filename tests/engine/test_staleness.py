"""Cells are one encoder's, and go stale when anything changes what it gives: the plan says what."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cxrbench.engine import plan as plan_module
from cxrbench.engine.results import Results
from cxrbench.predictions import Predictions
from cxrbench.task import Cell
from support.command import cxrbench

pytestmark = pytest.mark.usefixtures("folders")
Command = Callable[..., tuple[int, str, str]]

TWO = """
import torch
from cxrbench.encoder import Features, Preprocess

class First(torch.nn.Module):
    preprocess = Preprocess(size=16, resize="squash", mean=(0.5,), std=(0.5,), channels=1)
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.proj = torch.nn.Conv2d(1, 8, 8, 8)
    def forward(self, images):
        return Features(self.proj(images)[:, :, 0, 0])

class Mean(First):
    def forward(self, images):
        return Features(self.proj(images).mean((2, 3)))
"""
SAYS = """
import torch
from two import First, Features

class Mine(First):
    def __init__(self, weights):
        super().__init__()
        self.pooling = torch.load(weights, weights_only=True)["pooling"]
    def forward(self, images):
        x = self.proj(images)
        return Features(x[:, :, 0, 0] if self.pooling == "first" else x.mean((2, 3)))
"""
OUTSIDE = """
import os
from pathlib import Path
import torch
from two import First, Features

class Mine(First):
    def forward(self, images):
        with open(Path(__file__).with_name("calls.txt"), "a") as log:
            log.write(f"{len(images)} ")
        x = self.proj(images)
        return Features(x.mean((2, 3)) ** (2 if os.environ.get("SQUARED") else 1))
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, dataset: Path) -> Command:
    (tmp_path / "two.py").write_text(TWO)
    return lambda encoders, *words: cxrbench(
        monkeypatch, capsys, "run", "--encoder", encoders, "--tasks", f"{dataset}:classification", "--json", *words
    )


def values(out: str) -> dict[str, float]:
    return {row["encoder"]: row["value"] for row in json.loads(out)}


def plan(run: Command, encoder: str) -> tuple[str, str]:
    (row,) = json.loads(run(encoder, "--dry-run")[1])
    return row["state"], row["reason"]


def test_two_classes_of_one_file_with_the_same_weights_have_two_results(run: Command) -> None:
    together = values(run("two.py:First,two.py:Mean")[1])
    apart = values(run("two.py:Mean", "--results", "apart", "--cache", "apart-cache")[1])
    assert together["two.py:Mean"] == apart["two.py:Mean"] != together["two.py:First"]


def test_a_value_beside_the_weights_makes_two_encoders(run: Command, tmp_path: Path) -> None:
    (tmp_path / "says.py").write_text(SAYS)
    for pooling in ("first", "mean"):
        torch.save({"pooling": pooling}, f"{pooling}.pt")
    says = values(run("says.py:Mine@first.pt,says.py:Mine@mean.pt")[1])
    two = values(run("two.py:First,two.py:Mean")[1])
    assert list(says.values()) == list(two.values())
    assert len(set(says.values())) == 2


def test_editing_a_helper_module_makes_cells_stale(run: Command, tmp_path: Path) -> None:
    before = values(run("two.py:First,two.py:Mean")[1])
    (tmp_path / "helper.py").write_text("def pool(x):\n    return x[:, :, 0, 0]\n")
    (tmp_path / "mine.py").write_text(
        "from helper import pool\nfrom two import First, Features\nclass Mine(First):\n"
        "    def forward(self, images):\n        return Features(pool(self.proj(images)))\n"
    )
    assert values(run("mine.py:Mine")[1])["mine.py:Mine"] == before["two.py:First"]
    assert plan(run, "mine.py:Mine") == ("done", "")
    (tmp_path / "helper.py").write_text("def pool(x):\n    return x.mean((2, 3))\n")
    assert plan(run, "mine.py:Mine") == ("stale", "encoder source changed")
    assert values(run("mine.py:Mine")[1])["mine.py:Mine"] == before["two.py:Mean"]


def test_an_environment_variable_is_noticed_by_the_fixed_images(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outside.py").write_text(OUTSIDE)
    encoder, calls = "outside.py:Mine", tmp_path / "calls.txt"
    first = run(encoder)[1]
    assert plan(run, encoder) == ("done", "")
    monkeypatch.setenv("SQUARED", "1")
    state, reason = plan(run, encoder)
    assert state == "stale"
    assert reason.startswith("its output on two fixed images changed by ")
    before = len(calls.read_text().split())
    _, out, err = run(encoder)
    assert "features of outside.py:Mine on clinic are made again: its output on two fixed images changed" in err
    assert calls.read_text().split()[before:].count("64") == 1  # not the old rows from the cache
    assert values(out) != values(first)
    assert plan(run, encoder) == ("done", "")
    monkeypatch.delenv("SQUARED")
    assert values(run(encoder)[1]) == values(first)


def test_a_layer_without_a_seed_is_named(run: Command, tmp_path: Path) -> None:
    (tmp_path / "unseeded.py").write_text(
        "import torch, time\nfrom two import First\nclass Mine(First):\n    def __init__(self):\n"
        "        super().__init__()\n        torch.seed()\n        self.head = torch.nn.Linear(2, 2)\n"
        "        self.born = time.time_ns()\n"
    )
    code, _, err = run("unseeded.py:Mine")
    assert code == 1
    assert "is not the same when it is built again (encoder weights, encoder configuration: born)" in err


def test_a_finished_run_does_not_build_the_encoders_that_it_remembers(
    run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("pixels,two.py:First")
    built = []
    load = plan_module.load_encoder
    monkeypatch.setattr(plan_module, "load_encoder", lambda text, **k: (built.append(text), load(text, **k))[1])
    assert run("pixels,two.py:First")[:2] == (0, "[]\n")
    assert built == ["two.py:First"]


def test_a_cell_says_how_it_was_made(run: Command) -> None:
    run("two.py:First", "--device", "cpu", "--precision", "fp32")
    (path,) = Path("results").glob("cells/**/*.parquet")
    made = Predictions.load(path).made
    assert (made["device"], made["precision"]) == ("cpu", "fp32")
    assert torch.__version__.startswith(made["versions"]["torch"])
    assert {"cxrbench", "numpy", "timm", "transformers", "python"} <= made["versions"].keys()
    assert made["date"].endswith("+00:00")
    assert 0 < made["seconds"] < 600


def test_nearly_equal_fractions_have_a_file_each(run: Command) -> None:
    names = {Results(Path()).path(Cell("e", "d", "p", fraction)).name for fraction in (0.3000001, 0.3000002, 0.3, 1.0)}
    assert names == {
        "fraction-0.3000001-seed-0.parquet", "fraction-0.3000002-seed-0.parquet", "fraction-0.3-seed-0.parquet",
        "fraction-1-seed-0.parquet",
    }  # fmt: skip
    code, out, _ = run("two.py:First", "--fractions", "0.3000001,0.3000002")
    assert (code, len(json.loads(out))) == (0, 2)
    _, out, _ = run("two.py:First", "--fractions", "0.3000001,0.3000002", "--dry-run")
    assert {row["state"] for row in json.loads(out)} == {"done"}
