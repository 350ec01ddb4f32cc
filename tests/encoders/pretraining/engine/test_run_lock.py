"""One run in a folder at a time, and what a run that was killed leaves behind."""

import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cxrbench.encoders.pretraining.engine.fitting import train
from cxrbench.encoders.pretraining.engine.pretrain import pretrain
from cxrbench.encoders.pretraining.engine.run_lock import only_run
from cxrbench.errors import UserError
from support.toy_method import CONFIG, make_manifest


def test_a_second_run_in_a_folder_is_refused_before_it_reads_an_image(tmp_path: Path) -> None:
    manifest, out = make_manifest(tmp_path / "data"), tmp_path / "run"
    out.mkdir()
    for path in manifest.paths():
        path.unlink()
    with only_run(out, 1):
        for resume in (False, True):
            with pytest.raises(UserError, match=r"another process is pretraining in .*run: wait for it") as caught:
                pretrain(CONFIG, [manifest], out, resume=resume)
            assert "\n" not in str(caught.value)
        with only_run(tmp_path, 1):
            pass  # another folder is another run
    with pytest.raises(UserError, match="image"):
        pretrain(CONFIG, [manifest], out)


def test_a_killed_run_does_not_lock_its_folder(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from cxrbench.encoders.pretraining.engine.run_lock import only_run
with only_run(Path({str(tmp_path)!r}), 1):
    print("held", flush=True)
    sys.stdin.read()
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(UserError, match="another process"), only_run(tmp_path, 1):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    with only_run(tmp_path, 1):
        pass


def test_what_a_killed_run_was_writing_is_removed_and_nothing_else(tmp_path: Path) -> None:
    code = f"""
import os
from pathlib import Path
from cxrbench.files.atomic import atomic_path
names = ("last.ckpt", "epoch-0002.ckpt", "encoder.safetensors", "log.csv", "notes.txt")
begun = [atomic_path(Path({str(tmp_path)!r}) / name) for name in names]
for one in begun:
    one.__enter__()
os._exit(9)
"""
    (tmp_path / "last.ckpt").write_text("the last whole one")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert len(list(tmp_path.iterdir())) == 6
    with only_run(tmp_path, 1):
        left = sorted(path.name.split(".tmp")[0].rpartition(".")[0] for path in tmp_path.glob(".*.tmp"))
        assert left == [".notes.txt"]  # not the run's
    assert (tmp_path / "last.ckpt").read_text() == "the last whole one"


def test_a_run_that_was_taken_over_while_it_stood_still_writes_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken_over(*arguments: Any) -> None:
        (out / ".lock.1").unlink()
        train(*arguments)

    manifest, out = make_manifest(tmp_path / "data"), tmp_path / "run"
    monkeypatch.setattr("cxrbench.encoders.pretraining.engine.pretrain.train", taken_over)
    with pytest.raises(UserError, match=r"another process is pretraining in .*run since this one stood still"):
        pretrain(CONFIG, [manifest], out)
    assert not (out / "last.ckpt").exists()
    with only_run(out, 1) as (ours,):
        pickle.loads(pickle.dumps(ours)).check()  # as the processes of several devices get it
    with pytest.raises(UserError, match="stood still"):
        ours.check()


def test_of_processes_that_were_started_together_the_first_holds_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    with only_run(tmp_path, 2):
        monkeypatch.setenv("RANK", "1")
        with only_run(tmp_path, 2):
            pass
        monkeypatch.setenv("RANK", "0")
        with pytest.raises(UserError, match="another process"), only_run(tmp_path, 2):
            pass
