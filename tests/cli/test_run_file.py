"""A run as a file: what it says is what is done, what is typed stands above it, and the results folder remembers it."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import cxrbench
from cxrbench import api
from cxrbench.engine.asked.requests import HERE, Request, requested
from cxrbench.engine.settings import Settings
from cxrbench.errors import UserError
from support.command import cxrbench as command

pytestmark = pytest.mark.usefixtures("folders")


def write(dataset: Path, **more: Any) -> Path:
    path = Path("board.toml")
    settings = {"fractions": [0.5, 1], "precision": "fp32", "cache_limit": "1GB", **more}
    path.write_text(Request(("pixels",), (f"{dataset}:classification",), settings).to_toml())
    return path


def test_a_run_file_is_what_would_be_typed(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(dataset)
    code, out, err = command(monkeypatch, capsys, "run", str(path), "--json")
    rows = json.loads(out)
    assert (code, err, [row["fraction"] for row in rows]) == (0, "", [0.5, 1.0])
    results = cxrbench.run(**cxrbench.read_run_file(path))
    assert [row["value"] for row in results.rows] == [row["value"] for row in rows]
    code, out, err = command(monkeypatch, capsys, "run", str(path), "--fractions", "0.25", "--json")
    assert [row["fraction"] for row in json.loads(out)] == [0.25]
    assert err == "--fractions is as typed, not as in board.toml ([0.5, 1])\n"
    code, out, err = command(monkeypatch, capsys, "run", str(path), "--encoder", "random:nano", "--dry-run", "--json")
    assert {row["encoder"] for row in json.loads(out)} == {"random:nano"}
    assert err == "--encoder is as typed, not as in board.toml (['pixels'])\n"


def test_a_table_says_who_computes(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(dataset)
    path.write_text(path.read_text() + '[executor]\nkind = "local"\nworkers = 2\nthread = 1\n')
    for words in ((), ("--executor-option", "thread=2")):
        code, out, err = command(monkeypatch, capsys, "run", str(path), *words)
        assert (code, out) == (2, "")
        assert (
            err == "error: unknown option of executor local 'thread': did you mean 'threads'? known: threads, workers\n"
        )
    path.write_text(path.read_text().replace("thread", "threads"))
    code, out, _ = command(monkeypatch, capsys, "run", str(path), "--executor-option", "threads=0")
    assert (code, out) == (2, "")
    code, out, err = command(
        monkeypatch, capsys, "run", str(path), "--executor", "slrm"
    )  # typed: the table is not read
    assert (code, err.splitlines()[-1][:30]) == (2, "error: unknown executor 'slrm'")
    assert command(monkeypatch, capsys, "run", str(path), "--dry-run")[0] == 0
    code, _, err = command(monkeypatch, capsys, "run", str(path), "--shard", "1/1")  # which is a worker itself
    assert (code, err) == (0, "--shard 1/1 is as typed: the [executor] of board.toml is not used\n")


def test_results_remember_what_was_asked(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(dataset, device="cpu")
    for words in ([], [], ["--fractions", "1"]):  # the same again is no other request
        assert command(monkeypatch, capsys, "run", str(path), *words)[0] == 0
    found = api.requests()
    assert [one["settings"]["fractions"] for one in found] == [[0.5, 1.0], [1.0]]
    code, out, _ = command(monkeypatch, capsys, "requests")
    assert (code, out.count("pixels")) == (0, 2)
    code, text, _ = command(monkeypatch, capsys, "requests", found[0]["sha256"][:8])
    assert code == 0
    again = tomllib.loads(text)
    assert again["tasks"] == [f"{dataset}:classification"]
    path.write_text(text)
    before = sorted(Path("results/requests").iterdir())
    code, out, _ = command(monkeypatch, capsys, "run", str(path))
    assert "0 cells computed, 2 finished before" in out
    assert sorted(Path("results/requests").iterdir()) == before
    assert {verdict.condition for verdict in api.verify()} == {"whole"}
    assert command(monkeypatch, capsys, "requests", "x")[0] == 2


def test_the_hash_is_of_what_was_asked_not_of_the_machine() -> None:
    one = requested(["a"], ["b"], {"seeds": 3, "device": "cpu", "data": Path("/x")})
    assert one.sha256 == requested(["a"], ["b"], {"device": "cuda", "seeds": 3}).sha256
    assert one.sha256 != requested(["a"], ["b"], {"seeds": 2}).sha256
    assert one.sha256 != requested(["a"], ["b"], {"seeds": 3}, ["a"]).sha256
    odd = Request(('a"\\\n\x7fé𝄞',), ("t",), {"finetune": True, "fractions": [0.1, 1]})
    assert tomllib.loads(odd.to_toml()) == {"encoders": [*odd.encoders], "tasks": ["t"], **odd.settings}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('encoders = ["pixels"]\ntasks = ["x"]\nsedes = 3', "board.toml: unknown key 'sedes': did you mean 'seeds'?"),
        ('encoders = ["pixels"]\ntasks = ["x"]\ncache-limit = 3', "did you mean 'cache_limit'?"),
        ('encoders = ["pixels"]\ntasks = ["x"]\nseeds = "3"', "board.toml: seeds='3': give a whole number"),
        ("encoders = [3]\ntasks = ['x']", "board.toml: encoders is [3]: give a list of names"),
        ('encoders = ["pixels"]', "board.toml has no tasks"),
        ("encoders = [", "board.toml cannot be read as TOML"),
        (None, "board.toml does not exist"),
    ],
)
def test_a_mistake_in_it_is_one_line(
    text: str | None, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        Path("board.toml").write_text(text)
    code, _, err = command(monkeypatch, capsys, "run", "board.toml")
    assert (code, err.count("\n")) == (2, 1)
    assert message in err


def test_a_run_without_names_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = command(monkeypatch, capsys, "run", "--encoder", "pixels")
    assert (code, err) == (2, "error: name --encoder and --tasks, or a run file: cxrbench run board.toml\n")


def test_every_setting_can_be_written(dataset: Path) -> None:
    values: dict[str, Any] = {
        "fractions": [0.5], "finetune": True, "cache_limit": "1GB", "on_bad_image": "skip", "precision": "fp32",
    }  # fmt: skip
    whole = [name for name, kind in get_type_hints(Settings).items() if int in getattr(kind, "__args__", (kind,))]
    values |= {name: 3 for name in whole if name not in values}
    values |= {name: "text" for name in get_type_hints(Settings) if name not in values}
    path = write(dataset, **values)
    keys = {"encoders", "tasks", *get_type_hints(Settings)}
    assert set(cxrbench.read_run_file(path)) == keys - HERE
    said = path.read_text()  # what is of a machine is there, behind a #, and as it would be written
    assert set(tomllib.loads(re.sub("(?m)^# (?=[a-z_]+ = )", "", said))) == {
        "encoders",
        "tasks",
        *get_type_hints(Settings),
    }
    with pytest.raises(UserError):
        cxrbench.read_run_file(write(dataset, seeds=0))
