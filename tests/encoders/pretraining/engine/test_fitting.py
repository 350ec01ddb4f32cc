"""How a pretraining that is stopped, killed or out of memory ends: one line, and nothing lost that was saved."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import EncoderRequest
from cxrbench.encoders.pretraining.engine import pretrain as engine
from cxrbench.encoders.pretraining.engine.prepared import decoding_processes
from cxrbench.encoders.pretraining.engine.pretrain import pretrain
from cxrbench.encoders.pretraining.engine.progress import TrainingProgress
from cxrbench.encoders.pretraining.engine.trainer import launched
from cxrbench.encoders.pretraining.method import Batch, Draw, Loss
from cxrbench.encoders.spcl import SPCL, load
from cxrbench.errors import UserError
from cxrbench.files.checkpoints import read_checkpoint
from support.toy_method import CONFIG, Toy, make_manifest, toy_method, weights

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return make_manifest(tmp_path / "data")


@pytest.mark.parametrize(
    ("sent", "code", "kept"),
    [(signal.SIGTERM, 143, "last good checkpoint"), (signal.SIGINT, 130, "last good checkpoint")],
)
def test_being_stopped_says_how_to_go_on(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    sent: signal.Signals, code: int, kept: str,
) -> None:  # fmt: skip
    """Slurm's SIGTERM saves the step that it meets; Ctrl-C leaves what was saved before, here nothing."""
    monkeypatch.setattr(engine, "read_method", lambda config: toy_method())
    config = replace(CONFIG, method="toy", lr=1e-2, checkpoint_every=100)
    pretrain(config, [manifest], tmp_path / "whole")
    good, calls = Toy.forward, 0

    def stopped(self: Toy, batch: Batch, draw: Draw) -> Loss:
        nonlocal calls
        calls += 1
        if calls == 4:  # the first call counts GFLOPs: this is the third step
            os.kill(os.getpid(), sent)
        return good(self, batch, draw)

    monkeypatch.setattr(Toy, "forward", stopped)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with pytest.raises(SystemExit) as caught:
            pretrain(config, [manifest], tmp_path / "cut")
    finally:
        signal.signal(signal.SIGINT, handler)  # Lightning ignores it from the first Ctrl-C on
    assert caught.value.code == code
    last = capsys.readouterr().err.splitlines()[-1]
    assert kept in last
    assert "--resume" in last
    monkeypatch.setattr(Toy, "forward", good)
    if sent == signal.SIGTERM:
        assert read_checkpoint(tmp_path / "cut" / "last.ckpt")["global_step"] == 3
    pretrain(config, [manifest], tmp_path / "cut", resume=True)
    for name, tensor in weights(tmp_path / "whole").items():
        assert torch.equal(tensor, weights(tmp_path / "cut")[name]), name


def test_a_killed_decoding_process_is_one_line(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = SPCL.forward

    def kills(self: SPCL, batch: Batch, draw: Draw) -> Loss:
        for child in multiprocessing.active_children():
            child.kill()
            child.join()
        return good(self, batch, draw)

    monkeypatch.setattr(SPCL, "forward", kills)
    with pytest.raises(UserError, match=r"a process that decodes images died .*--resume"):
        pretrain(replace(CONFIG, decode="always", workers=1, epochs=20), [manifest], tmp_path / "run")


def test_a_kill_while_a_checkpoint_is_written_leaves_the_last_one(tmp_path: Path) -> None:
    """The process dies inside torch.save of the second checkpoint, half of it on disk."""
    code = f"""
import os, signal, sys, torch
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from cxrbench.encoders.pretraining.engine.pretrain import pretrain
from support import toy_method as t
torch.set_num_threads(1)
saved, save = 0, torch.save
def dies(content, path, *arguments, **named):
    global saved
    save(content, path, *arguments, **named)
    saved += 1
    if saved == 2:
        os.truncate(path, os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)
torch.save = dies
pretrain(t.CONFIG, [t.make_manifest(Path({str(tmp_path / "data")!r}))], Path({str(tmp_path / "run")!r}))
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, env={**os.environ}, timeout=600)
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    assert read_checkpoint(tmp_path / "run" / "last.ckpt")["global_step"] == 1
    manifest = make_manifest(tmp_path / "data")
    pretrain(CONFIG, [manifest], tmp_path / "run", resume=True)
    pretrain(CONFIG, [manifest], tmp_path / "whole")
    for name, tensor in weights(tmp_path / "whole").items():
        assert torch.equal(tensor, weights(tmp_path / "run")[name]), name
    assert load(EncoderRequest("spcl", None, str(tmp_path / "run" / "encoder.safetensors"))).card.method == "spcl"


def test_sigterm_within_an_accumulated_step_waits_for_its_end(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "read_method", lambda config: toy_method())
    config = replace(CONFIG, method="toy", accumulate=3, epochs=4, checkpoint_every=100)
    good, calls = Toy.forward, 0

    def stopped(self: Toy, batch: Batch, draw: Draw) -> Loss:
        nonlocal calls
        calls += 1
        if calls == 6:  # one call counts GFLOPs: the second batch of the second step
            os.kill(os.getpid(), signal.SIGTERM)
        return good(self, batch, draw)

    monkeypatch.setattr(Toy, "forward", stopped)
    with pytest.raises(SystemExit) as caught:
        pretrain(config, [manifest], tmp_path / "cut")
    assert caught.value.code == 143
    assert read_checkpoint(tmp_path / "cut" / "last.ckpt")["global_step"] == 2
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_sigterm_reaches_all_processes_and_they_save_together(tmp_path: Path) -> None:
    """Two processes on a CPU, told through the one that the user started."""
    code = f"""
import sys, torch
from dataclasses import replace
from pathlib import Path
if __name__ == "__main__":
    sys.path.insert(0, {str(Path(__file__).parents[3])!r})
    from cxrbench.encoders.pretraining.engine.pretrain import pretrain
    from support import toy_method as t
    torch.set_num_threads(1)
    config = replace(t.CONFIG, devices=2, epochs=100_000, checkpoint_every=10_000)
    pretrain(config, [t.make_manifest(Path("data"))], Path("run"))
"""
    (tmp_path / "two.py").write_text(code)
    process = subprocess.Popen([sys.executable, "two.py"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    rows, end = tmp_path / "run" / "log.csv", time.monotonic() + 600
    while time.monotonic() < end and process.poll() is None and not (rows.exists() and len(rows.read_text()) > 500):
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 143, err
    assert "--resume" in err.splitlines()[-1]
    step = read_checkpoint(tmp_path / "run" / "last.ckpt")["global_step"]
    assert step == int(rows.read_text().splitlines()[-1].split(",")[0])


def test_out_of_gpu_memory_is_one_line(manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, good = 0, SPCL.forward

    def hungry(self: SPCL, batch: Batch, draw: Draw) -> Loss:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return good(self, batch, draw)

    monkeypatch.setattr(SPCL, "forward", hungry)
    with pytest.raises(UserError, match=r"out of GPU memory; the last good checkpoint .*--gradient-checkpointing"):
        pretrain(CONFIG, [manifest], tmp_path / "run")


def test_a_killed_decoder_is_told_from_other_failures() -> None:
    told = r"died .*killed by signal: Killed.*; all is kept, with fewer --workers"
    with pytest.raises(UserError, match=told), decoding_processes(lambda: "all is kept"):
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")
    with pytest.raises(RuntimeError, match="shapes"), decoding_processes(lambda: "all is kept"):
        raise RuntimeError("shapes do not match")


def test_a_disk_that_fills_up_is_one_line(manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cxrbench.encoders.pretraining.engine.progress.DictWriter", full)
    with pytest.raises(UserError, match=r"cannot write to .*run: No space left on device"):
        pretrain(CONFIG, [manifest], tmp_path / "run")


def test_a_disk_that_fills_up_under_tensorboard_is_one_line(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)  # pytest has its own
    monkeypatch.setattr("tensorboard.summary.writer.record_writer.RecordWriter.write", full)
    with pytest.raises(UserError, match=r"cannot write to .*run: No space left on device"):
        pretrain(CONFIG, [manifest], tmp_path / "run")
    assert "Traceback" not in capfd.readouterr().err
    assert threading.excepthook is threading.__excepthook__


def in_a_batch_job(monkeypatch: pytest.MonkeyPatch, tasks: str) -> None:
    """What Slurm sets in a batch job of so many tasks."""
    for name, value in {"NTASKS": tasks, "JOB_NAME": "train", "JOB_ID": "7", "PROCID": "0", "LOCALID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)


@pytest.mark.parametrize(
    ("tasks", "devices", "already"), [("1", 2, False), ("2", 2, True), ("4", 1, False), ("1", 1, False)]
)
def test_a_batch_job_of_slurm_has_started_the_processes_if_it_has_as_many_tasks(
    monkeypatch: pytest.MonkeyPatch, tasks: str, devices: int, already: bool
) -> None:
    """Lightning takes every batch job for one that srun started with a task per device."""
    in_a_batch_job(monkeypatch, tasks)
    assert launched(devices) == already


def test_where_srun_is_installed_nobody_is_told_to_use_it(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    for name in ("SLURM_NTASKS", "SLURM_JOB_NAME"):
        monkeypatch.delenv(name, raising=False)
    assert not launched(2)
    pretrain(replace(CONFIG, epochs=1), [manifest], tmp_path / "run")
    assert [str(one.message) for one in recwarn if "srun" in str(one.message)] == []


def test_a_batch_job_with_several_tasks_trains_on_one_device(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_a_batch_job(monkeypatch, "4")
    assert pretrain(replace(CONFIG, epochs=1), [manifest], tmp_path / "run").is_file()


def test_an_epoch_that_ends_within_a_step_is_kept_at_the_steps_end(manifest: Manifest, tmp_path: Path) -> None:
    config = replace(CONFIG, accumulate=2, epochs=4, keep_every=1)  # three batches an epoch
    pretrain(config, [manifest], tmp_path / "run")
    kept = {path.stem: read_checkpoint(path)["global_step"] for path in (tmp_path / "run").glob("epoch-*.ckpt")}
    assert kept == {"epoch-0001": 2, "epoch-0002": 3, "epoch-0003": 5, "epoch-0004": 6}


@pytest.mark.parametrize("left", ["", "step,epoch,loss\n", "step,epo"])
def test_a_log_that_was_cut_off_does_not_stop_a_resumed_run(manifest: Manifest, tmp_path: Path, left: str) -> None:
    run = tmp_path / "run"
    pretrain(replace(CONFIG, keep_every=1), [manifest], run)
    (run / "epoch-0001.ckpt").replace(run / "last.ckpt")
    (run / "log.csv").write_text(left)
    pretrain(replace(CONFIG, keep_every=1), [manifest], run, resume=True)
    assert [line.split(",")[0] for line in (run / "log.csv").read_text().splitlines()] == ["step", "4", "5", "6"]


@pytest.mark.parametrize(
    ("damage", "steps"),
    [
        (lambda text: b"hello\nworld,1\n\n", [4, 5, 6]),
        (lambda text: b"\xcf\x00", [4, 5, 6]),
        (lambda text: text.replace(b"\n2,", b"\n,,", 1), [1, 3, 4, 5, 6]),
        (lambda text: text.replace(b"\n3,", b"\n2,\n3,", 1), [1, 2, 3, 4, 5, 6]),
    ],
)
def test_a_damaged_log_is_set_aside_and_does_not_stop_a_resumed_run(
    manifest: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[bytes], bytes],
    steps: list[int],
) -> None:  # fmt: skip
    run = tmp_path / "run"
    pretrain(replace(CONFIG, keep_every=1), [manifest], run)
    (run / "epoch-0001.ckpt").replace(run / "last.ckpt")
    damaged = damage((run / "log.csv").read_bytes().replace(b"\r\n", b"\n"))
    for number in (1, 2):  # the second time nothing of the first is lost
        (run / "log.csv").write_bytes(damaged)
        TrainingProgress(run).keep_rows_to(3)
        assert (run / f"log.damaged-{number}.csv").read_bytes() == damaged
        assert "rows are gone on with, and log.damaged-" in capsys.readouterr().err
    pretrain(replace(CONFIG, keep_every=1), [manifest], run, resume=True)
    lines = (run / "log.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", *map(str, steps)]
    assert len({line.count(",") for line in lines}) == 1
