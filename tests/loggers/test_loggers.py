"""Experiment loggers: what they are told, that they are optional, and that none of them can end a run."""

import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import cxrbench
from cxrbench.errors import UserError
from cxrbench.loggers.adapters import MlflowLogger, TrackioLogger, WandbLogger
from cxrbench.loggers.contract import ExperimentLogger, open_logger
from cxrbench.plugins import entry_points
from support.command import cxrbench as command

pytestmark = pytest.mark.usefixtures("folders")
KEPT: list[tuple[Any, ...]] = []


class Keeps:
    """An ExperimentLogger that keeps what it is told; it raises at the step that ``FAILS_AT`` says."""

    fails_at = 0

    def begin(self, name: str, settings: Mapping[str, Any]) -> None:
        KEPT.append(("begin", name, dict(settings)))

    def log(self, values: Mapping[str, float], step: int) -> None:
        if step == self.fails_at:
            raise RuntimeError("no network\nat all")
        KEPT.append(("log", dict(values), step))

    def end(self) -> None:
        KEPT.append(("end",))


@pytest.fixture
def keeps(monkeypatch: pytest.MonkeyPatch) -> type[Keeps]:
    """The logger ``keeps``, installed."""
    KEPT.clear()
    monkeypatch.setattr(Keeps, "fails_at", 0)
    monkeypatch.setitem(sys.modules, "keeps", SimpleNamespace(Keeps=Keeps))  # type: ignore[arg-type]
    points = {"keeps": [EntryPoint("keeps", "keeps:Keeps", entry_points.LOGGERS)]}
    found = entry_points.found
    monkeypatch.setattr(
        entry_points, "found", lambda group: found(group) | (points if group == entry_points.LOGGERS else {})
    )
    return Keeps


def test_a_run_tells_every_cell(keeps: type[Keeps], dataset: Path) -> None:
    results = cxrbench.run("pixels", [f"{dataset}:classification", f"{dataset}:knn"], precision="fp32", log="keeps")
    (_, name, settings), *logged, end = KEPT
    assert (name[:4], settings["encoders"], settings["precision"], end) == ("run ", ("pixels",), "fp32", ("end",))
    values = [next(iter(values.values())) for _, values, _ in logged]
    assert values == [row["value"] for row in results.rows]
    assert list(logged[0][1]) == ["clinic:classification/pixels/AUROC/fraction 1 seed 0"]
    assert [step for *_, step in logged] == [1, 2]


def test_a_logger_that_fails_ends_itself_not_the_run(
    keeps: type[Keeps], dataset: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeps, "fails_at", 1)
    results = cxrbench.run("pixels", [f"{dataset}:classification", f"{dataset}:knn"], precision="fp32", log="keeps")
    assert all(row["value"] is not None for row in results.rows)
    assert [kept[0] for kept in KEPT] == ["begin"]
    assert [record.getMessage() for record in caplog.records if "--log" in record.getMessage()] == [
        "--log keeps is given up: no network"
    ]


def test_pretraining_tells_every_step(keeps: type[Keeps], dataset: Path) -> None:
    tiny: dict[str, Any] = {"arch": "nano-32", "batch_size": 32, "epochs": 1, "accelerator": "cpu", "precision": "32"}
    cxrbench.pretrain("spcl", [str(dataset)], log="keeps", watch_every=0, **tiny)
    (_, name, settings), *logged, end = KEPT
    assert (name, settings["batch_size"], end) == ("pretraining spcl", 32, ("end",))
    rows = Path("runs/spcl/log.csv").read_text().splitlines()
    assert len(logged) == len(rows) - 1 > 0
    assert {"epoch", "learning_rate", "loss"} <= set(logged[0][1])


def test_what_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="unknown logger 'wandbb': did you mean 'wandb'"):
        open_logger("wandbb", "r", {})
    monkeypatch.setitem(sys.modules, "mlflow", None)  # not installed
    with pytest.raises(UserError, match=r"--log mlflow: .*; pip install 'cxrbench\[mlflow\]'"):
        open_logger("mlflow", "r", {})
    assert "--log" in command(monkeypatch, capsys, "run", "--help")[1]


def test_pretraining_asks_for_its_logger_before_data_are_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    words = ["pretrain", "spcl", "--data", "./nowhere.csv", "--log"]
    for name, message in (("wandbb", "did you mean 'wandb'"), ("mlflow", "--log mlflow: mlflow is not installed; pip")):
        code, _, err = command(monkeypatch, capsys, *words, name)
        assert (code, message in err) == (2, True), err


@pytest.mark.parametrize("made", [WandbLogger, MlflowLogger, TrackioLogger])
def test_each_adapter_speaks_to_its_package(made: type[ExperimentLogger], monkeypatch: pytest.MonkeyPatch) -> None:
    """The functions of the packages, by the names and arguments that they have; the packages are not installed here."""
    calls: list[tuple[str, dict[Any, Any]]] = []

    def function(name: str) -> Any:
        return lambda *a, **k: calls.append((name, {**dict(enumerate(a)), **k}))

    names = ("log", "finish", "init", "set_experiment", "start_run", "log_params", "log_metrics", "end_run")
    package = SimpleNamespace(**{name: function(name) for name in names})
    package.init = lambda **k: (calls.append(("init", k)), package)[1]
    for name in ("wandb", "mlflow", "trackio"):
        monkeypatch.setitem(sys.modules, name, package)  # type: ignore[arg-type]
    logger = made()
    assert isinstance(logger, ExperimentLogger)
    logger.begin("one", {"seeds": 3})
    logger.log({"loss (mean)": 0.5}, 7)
    logger.end()
    logged = next(arguments for name, arguments in calls if name in ("log", "log_metrics"))
    assert (list(logged[0].values()), logged["step"]) == ([0.5], 7)
    assert calls[-1][0] in ("finish", "end_run")
