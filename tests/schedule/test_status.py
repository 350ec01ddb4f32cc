"""How far a request is, told from the files alone."""

import json
from pathlib import Path

import pytest

from cxrbench import api
from cxrbench.engine.results import Results
from cxrbench.files.leases import Lease, Leases
from cxrbench.progress import Progress
from cxrbench.schedule.manner import Manner
from cxrbench.schedule.worker import lease_path
from support.command import cxrbench
from support.shared_work import asked

pytestmark = pytest.mark.usefixtures("folders")


def test_every_cell_is_done_running_failed_or_missing(
    encoder: str, dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = encoder.replace(":Mine", ":Broken")
    request = asked(broken, dataset, "results")
    job = api.prepare(**request)  # type: ignore[arg-type]
    working = api.outcomes(job, Progress(), manner=Manner(retries=0))
    told = [next(working) for _ in range(6)]  # four cells of the broken encoder, two of the other
    assert [one.state for one in told] == ["failed"] * 4 + ["computed"] * 2
    del working
    left = [one.cell for one in job.plan.cells][6]
    with Leases() as leases:
        assert isinstance(leases.acquire(lease_path(Results(Path("results")), left), "the seventh"), Lease)
        found = api.status("results")
        assert (found.cells, found.done, found.running, len(found.failed), found.missing) == (8, 2, 1, 4, 1)
        assert [one.what for one in found.at] == ["the seventh"]
        assert found.seconds_left is not None
        assert all("NaN" in one.reason and "Traceback" in one.trace and one.attempts == 1 for one in found.failed)
        code, out, err = cxrbench(monkeypatch, capsys, "status", "--json")
        assert (code, err) == (0, "")
        said = json.loads(out)
        assert said.keys() == found.to_json().keys()
        assert (said["done"], said["running"], said["missing"], len(said["failed"])) == (2, 1, 1, 4)
    assert api.status("results").seconds_left is None  # nobody works
    code, out, _ = cxrbench(monkeypatch, capsys, "status")
    assert out.splitlines()[0].partition(": ")[2] == "8 cells: 2 done, 4 failed, 2 missing"


def test_what_was_never_asked_and_what_was_asked_twice_is_one_line(
    encoder: str, dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("status", "worker"):
        code, out, err = cxrbench(monkeypatch, capsys, command, "--results", "none")
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert "has no request" in err
    for task in ("classification", "knn"):
        words = ["run", "--encoder", "pixels", "--tasks", f"{dataset}:{task}", "--shard", "1/1"]
        assert cxrbench(monkeypatch, capsys, *words)[0] == 0
    for words in (["worker"], ["status"], ["worker", "--request", "no"]):
        code, _, err = cxrbench(monkeypatch, capsys, *words)
        assert (code, len(err.splitlines())) == (2, 1)
        assert "request" in err
    one, other = sorted(Path("results/requests").glob("*.json"))
    other.write_text("{}")  # damaged: no hindrance to who is at another one
    for command in ("worker", "status"):
        assert cxrbench(monkeypatch, capsys, command, "--request", one.stem)[0] == 0
        code, _, err = cxrbench(monkeypatch, capsys, command, "--request", other.stem[:6])
        assert (code, f"{other} is damaged" in err) == (2, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--shard", "0/3"], "--shard '0/3': give i/N"), (["--shard", "4/3"], "--shard '4/3'"),
        (["--shard", "1/2", "--executor", "local"], "leave one out"),
        (["--executor", "slrm"], "unknown executor 'slrm'"),
        (["--executor", "local", "--executor-option", "thread=2"], "did you mean 'threads'"),
        (["--executor", "local", "--executor-option", "threads"], "give KEY=VALUE"),
        (["--executor-option", "threads=2"], "there is no --executor"),
        (["--executor", "local", "--device", "cuda:1"], "CUDA_VISIBLE_DEVICES"),
        *((["--shard", "1/1", "--lease", s], "give seconds from 1 to 86400") for s in ("inf", "nan", "1e300", "0.5")),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_before_anything_is_done(
    words: list[str], said: str, dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    request = ["run", "--encoder", "pixels", "--tasks", f"{dataset}:knn"]
    code, out, err = cxrbench(monkeypatch, capsys, *request, *words)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert said in err
    assert not Path("results").exists()
