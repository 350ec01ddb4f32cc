"""A cell that fails does not end the others, and a request that is refused as a whole computes nothing."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from support.command import cxrbench

pytestmark = pytest.mark.usefixtures("folders")

ODD = """
import torch
from cxrbench.encoder import Features, Preprocess
from cxrbench.plugins.loading import fixed_batch

class Base(torch.nn.Module):
    preprocess = Preprocess(size=16, resize="squash", mean=(0.0,), std=(1.0,), channels=1)
    def shown(self, images):
        return torch.nn.functional.avg_pool2d(images, 4).flatten(1)
    def forward(self, images):
        if len(images) == 2:
            return Features(self.shown(images))
        return Features(self.odd(images))

class Raises(Base):
    def odd(self, images):
        raise ValueError("no luck\\ntoday")

class Wider(Base):
    def odd(self, images):
        return self.shown(images)[:, : 8 + len(images) % 3]

class Nan(Base):
    def odd(self, images):
        return self.shown(images) * torch.nan

class Exits(Base):
    def odd(self, images):
        raise KeyboardInterrupt

class Quits(Base):
    def odd(self, images):
        raise SystemExit(7)

class QuitsAtOnce(Base):
    def __init__(self):
        raise SystemExit(7)

class Noisy(Base):
    def forward(self, images):
        return Features(self.shown(images) + 0.1 * torch.rand(len(images), 1))

class Calls(Base):
    calls = 0
    def forward(self, images):
        self.calls += 1
        return Features(self.shown(images) * self.calls)

class Batch(Base):
    def forward(self, images):
        return Features(self.shown(images) - self.shown(images).mean(0))

class BatchMaps(Base):
    def forward(self, images):
        return Features(self.shown(images), (images - images.mean(0),) * 4)

class Empty(Base):
    def forward(self, images):
        return Features(torch.zeros(len(images), 0))

class Constant(Base):
    def forward(self, images):
        return Features(torch.ones(len(images), 8))

class Zero(Base):
    def forward(self, images):
        return Features(torch.zeros(len(images), 8))
"""
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    (tmp_path / "odd.py").write_text(ODD)
    return lambda *words: cxrbench(monkeypatch, capsys, "run", *words)


def table(err: str) -> dict[str, str]:
    """Of a table of failures the reason by encoder."""
    lines = err[err.index("\n---") :].splitlines()[2:]
    return {line.split()[0]: " ".join(line.split()[3:]) for line in lines}


def test_the_other_cells_go_on_and_the_failures_are_told_in_the_end(run: Command, dataset: Path) -> None:
    encoders = {
        "odd.py:Raises": "ValueError: no luck", "odd.py:Wider": "the width must be the same for every batch",
        "odd.py:Nan": "NaN or infinite features", "odd.py:Empty": "with D > 0", "imagnet": "did you mean 'imagenet'",
        "odd.py:Absent": "has no 'Absent'", "odd.py:Quits": "SystemExit: 7", "odd.py:QuitsAtOnce": "SystemExit: 7",
    }  # fmt: skip
    words = ["--encoder", ",".join([*encoders, "pixels"]), "--tasks", f"{dataset}:classification", "--json"]
    code, out, err = run(*words)
    assert code == 1
    assert err.startswith("8 of the cells failed")
    reasons = table(err)
    assert reasons.keys() == encoders.keys()
    for encoder, part in encoders.items():
        assert part in reasons[encoder]
    rows = json.loads(out)
    assert [row["encoder"] for row in rows if "value" in row] == ["pixels"]
    assert {row["encoder"] for row in rows if "failed" in row} == encoders.keys()
    code, out, _ = run(*words)  # what is finished stays, what failed is tried again
    assert (code, [row["encoder"] for row in json.loads(out) if "value" in row]) == (1, [])


def test_constant_embeddings_tell_nothing_and_harm_nobody(run: Command, dataset: Path) -> None:
    words = ["--encoder", "odd.py:Constant,odd.py:Zero,pixels", "--tasks", f"{dataset}:classification", "--json"]
    code, out, _ = run(*words)
    values = {row["encoder"]: row["value"] for row in json.loads(out)}
    assert (code, values["odd.py:Constant"], values["odd.py:Zero"]) == (0, 0.5, 0.5)
    assert values["pixels"] > 0.6


def test_features_that_depend_on_more_than_their_image_are_refused(run: Command, dataset: Path) -> None:
    encoders = {f"odd.py:{name}" for name in ("Noisy", "Calls", "Batch", "BatchMaps")}
    code, _, err = run("--encoder", ",".join([*sorted(encoders), "pixels"]), "--tasks", f"{dataset}:classification")
    assert code == 1
    reasons = table(err)
    assert reasons.keys() == encoders
    assert all("gives other features for the same image" in text for text in reasons.values())


def test_fail_fast_stops_at_the_first(run: Command, dataset: Path) -> None:
    words = ["--encoder", "odd.py:Raises,pixels", "--tasks", f"{dataset}:classification", "--fail-fast"]
    code, out, err = run(*words)
    assert code == 1
    assert table(err).keys() == {"odd.py:Raises"}
    assert out.startswith("0 cells computed, 1 failed")
    assert not list(Path("results").glob("cells/**/*.parquet"))


def test_a_missing_dataset_does_not_stop_the_other_one(run: Command, dataset: Path) -> None:
    code, out, err = run("--encoder", "pixels", "--tasks", f"./none.csv:classification,{dataset}:classification")
    assert code == 1
    assert "no CSV file none.csv" in err
    assert out.splitlines()[-1].startswith("1 cell computed, 1 failed")


@pytest.mark.parametrize("words", [["--encoder", "imagnet,odd.py:Absent"], ["--encoder", "odd.py:Empty"]])
def test_a_request_in_which_every_cell_is_blocked_is_refused(words: list[str], run: Command, dataset: Path) -> None:
    code, out, err = run(*words, "--tasks", f"{dataset}:classification")
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    assert not Path("results").exists()
    code, out, planned = run(*words, "--tasks", f"{dataset}:classification", "--dry-run")
    assert (code, planned) == (2, err)
    assert "blocked" in out


def test_an_interruption_is_no_failure_of_a_cell(run: Command, dataset: Path) -> None:
    code, _, err = run("--encoder", "odd.py:Exits,pixels", "--tasks", f"{dataset}:classification")
    assert (code, err.splitlines()[-1][:11]) == (130, "interrupted")
    assert not list(Path("results").glob("cells/**/*.parquet"))


def test_results_that_cannot_be_written_end_the_run_with_one_line(run: Command, dataset: Path) -> None:
    Path("file").write_text("")
    words = ["--encoder", "pixels,odd.py:Constant", "--tasks", f"{dataset}:classification"]
    code, out, err = run(*words, "--results", "file/results")
    assert (code, out) == (2, "")
    assert err.startswith("error: cannot write to file/results")
    assert len(err.splitlines()) == 1


def test_a_finished_run_writes_nothing(run: Command, dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--encoder", "pixels,odd.py:Constant", "--tasks", f"{dataset}:classification"]
    run(*words)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something is written")

    monkeypatch.setattr("os.replace", refuse)
    monkeypatch.setattr("cxrbench.engine.results.write_record", refuse)
    code, out, _ = run(*words)
    assert (code, out.splitlines()[-1][:36]) == (0, "0 cells computed, 2 finished before.")


@pytest.mark.parametrize(
    "manner", [(), ("--shard", "1/2"), ("--executor", "local:2")], ids=["alone", "shard", "executor"]
)
def test_a_finished_folder_that_cannot_be_written_to_is_finished_for_any_request(
    manner: tuple[str, ...], run: Command, dataset: Path
) -> None:
    """And where a cell is missing the line says that it cannot be written."""
    tasks = f"{dataset}:classification,{dataset}:knn"
    run("--encoder", "pixels", "--tasks", tasks)
    shutil.rmtree("results/requests")
    Path("results/requests").write_text("in the way of a folder")
    code, out, err = run("--encoder", "pixels", "--tasks", f"{dataset}:knn", *manner)
    assert (code, out[:36], err) == (0, "0 cells computed, 1 finished before.", "")
    code, out, err = run("--encoder", "pixels,odd.py:Constant", "--tasks", tasks, *manner)
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("error: cannot write to results/requests")
