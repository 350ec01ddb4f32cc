"""What a command imports: nothing that it does not need, and no phantom for a slip of the pen."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cxrbench import __main__
from cxrbench.engine import job
from cxrbench.phantom import write as phantom
from support.command import cxrbench

HEAVY = ("torch", "transformers", "lightning", "timm", "scipy", "pandas", "pyarrow", "pydicom", "matplotlib")
GUARDED = """
import sys

class Guard:
    def find_spec(self, name, path=None, target=None):
        if name in {banned}:
            raise AssertionError("imports " + name)

sys.meta_path.insert(0, Guard())
from cxrbench.cli import main
for words in {commands}:
    sys.argv = ["cxrbench", *words]
    try:
        main.main()
    except SystemExit as stop:
        print("stopped with", stop.code)
"""


def guarded(banned: tuple[str, ...], *commands: list[str]) -> str:
    """What the commands print, one after the other in one process in which the banned modules cannot be imported."""
    code = GUARDED.format(banned=banned, commands=commands)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_help_and_lists_import_nothing_heavy() -> None:
    said = guarded(
        HEAVY, ["--help"], ["run", "--help"], ["encoders", "list"], ["data", "list"], ["tasks", "list"], ["--version"]
    )
    for text in ("S-PCL: contrast", "VinDr-CXR 1.0.0", "linear probe on frozen embeddings", "--fail-fast"):
        assert text in said
    assert "cannot be imported" not in said
    assert "stopped with" not in said


def test_the_guard_bites() -> None:
    with pytest.raises(AssertionError, match="imports torch"):
        guarded(("torch",), ["encoders", "info", "pixels"])


@pytest.mark.usefixtures("folders")
def test_a_finished_run_a_plan_and_a_board_do_without_torch(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--encoder", "pixels", "--tasks", f"{dataset}:classification"]
    code, _, _ = cxrbench(monkeypatch, capsys, *words)
    assert code == 0
    everything = ["run", "--encoder", "pixels", "--tasks", str(dataset), "--dry-run", "--json"]
    said = guarded(("torch", "transformers", "lightning"), ["leaderboard"], words, everything)
    assert "0 cells computed, 1 finished before" in said
    rows = json.loads(said[said.index("[\n") : said.rindex("]") + 1])
    states = {row["task"].partition(":")[2]: row["state"] for row in rows}
    assert states == {"classification": "done", "knn": "missing", "retrieval": "missing", "zero-shot": "missing"}


@pytest.mark.usefixtures("folders")
def test_a_dry_run_draws_no_phantom_and_sees_the_one_that_is_drawn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(phantom, "IMAGES", {"siim": 24})
    monkeypatch.setattr(phantom, "cores", lambda: 1)
    words = ["run", "--encoder", "pixels", "--tasks", "siim:retrieval", "--dry-run", "--json"]

    def state() -> tuple[str, str]:
        code, out, _ = cxrbench(monkeypatch, capsys, *words)
        assert code == 0
        return json.loads(out)[0]["state"], json.loads(out)[0]["task"]

    assert state() == ("missing", "siim:retrieval")
    assert [folder.name for folder in Path("cache").glob("phantom*/siim")] == ["siim"]
    blank = next(Path("cache").glob("phantom*-blank/siim"))
    assert "blank" in (blank / "PHANTOM.json").read_text()
    phantom.ensure(Path("cache"), ["siim"])
    with monkeypatch.context() as patch:  # what is drawn already leaves nothing to wait for
        patch.setattr(job, "importing", None)
        cxrbench(monkeypatch, capsys, *words[:-2])
    assert state() == ("done", "siim:retrieval")
    shutil.rmtree(next(Path("cache").glob("phantom-v?")))  # without it nobody can tell, and that is said
    assert state() == ("stale", "siim:retrieval")
    assert "siim: its phantom is not drawn" in cxrbench(monkeypatch, capsys, *words)[2]


@pytest.mark.usefixtures("folders")
@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["run", "--encoder", "imagnet", "--tasks", "rsna"], "did you mean 'imagenet'"),
        (["run", "--encoder", "imagnet", "--tasks", "rsna", "--dry-run"], "did you mean 'imagenet'"),
        (["run", "--encoder", "pixels", "--tasks", "rsna:clasification"], "did you mean 'classification'"),
        (["run", "--encoder", "pixels", "--tasks", "rnsa"], "did you mean 'rsna'"),
        (["run", "--encoder", "pixels@", "--tasks", "rsna"], "empty part"),
        (["pretrain", "spcI", "--data", "rsna"], "did you mean 'spcl'"),
        (["pretrain", "spcl", "--data", "rsna,vinder"], "did you mean 'vindr'"),
        (["pretrain", "supervised", "--data", "rsna", "--picture-every", "5"], "draws no pictures"),
        (["pretrain", "spcl", "--data", "rsna", "--option", "ratioo=0.3"], "ratio"),
        (["data", "check", "rnsa"], "did you mean 'rsna'"),
    ],
)
def test_a_wrong_name_or_setting_is_told_before_a_phantom_is_drawn(
    words: list[str], part: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def drawn(*arguments: object, **named: object) -> None:
        raise AssertionError("the phantom is drawn")

    monkeypatch.setattr(phantom, "write", drawn)
    code, _, err = cxrbench(monkeypatch, capsys, *words)
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert part in err
    assert not list(Path("cache").glob("phantom*"))


def test_an_interruption_while_modules_are_imported_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "cxrbench.cli.main":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "cxrbench.cli.main")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit, match="130"):
        __main__.main()
    assert capsys.readouterr().err == "interrupted before anything was begun\n"
