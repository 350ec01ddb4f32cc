"""Workers of this machine: who is told what, and that they compute what one process does."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from cxrbench import run
from cxrbench.errors import UserError
from cxrbench.executors import local
from cxrbench.executors.choice import chosen_executor
from cxrbench.executors.contract import WorkerKind
from cxrbench.executors.local import LocalExecutor, assigned
from support.command import CommandLine
from support.shared_work import same_bits

GPU, CPU = WorkerKind("gpu", 10), WorkerKind("cpu", 30)


def test_one_worker_alone_has_what_a_run_without_workers_has() -> None:
    (one,) = assigned(LocalExecutor(), [CPU], [], 8, {})
    assert (one.options, one.environment) == (("--name", "local-1", "--shard", "1/1"), {})


@pytest.mark.parametrize(("said", "threads"), [("", "4"), ("2", "2"), ("16", "4")])
def test_threads_are_dealt_out_so_that_there_are_no_more_than_cores(said: str, threads: str) -> None:
    told = assigned(LocalExecutor(2), [CPU], [], 8, {"OMP_NUM_THREADS": said} if said else {})
    assert [one.environment["OMP_NUM_THREADS"] for one in told] == [threads, threads]
    assert [one.options[-2:] for one in told] == [("--threads", threads)] * 2


def test_a_worker_per_gpu_and_one_beside_them_for_what_needs_none() -> None:
    told = assigned(LocalExecutor(), [GPU, CPU], ["2", "3"], 9, {})
    assert [one.environment["CUDA_VISIBLE_DEVICES"] for one in told] == ["2", "3", ""]
    assert [one.options[one.options.index("--needs") + 1] for one in told] == ["gpu-first", "gpu-first", "cpu"]
    assert {one.environment["OMP_NUM_THREADS"] for one in told} == {"3"}
    assert len(assigned(LocalExecutor(), [GPU], ["2", "3"], 9, {})) == 2
    assert len(assigned(LocalExecutor(4), [GPU, CPU], ["2", "3"], 9, {})) == 5


def test_there_are_no_more_workers_than_units() -> None:
    assert len(assigned(LocalExecutor(8), [WorkerKind("cpu", 3)], [], 8, {})) == 3


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("slrm", "unknown executor 'slrm'"), ("local:", "the grammar is KIND"), ("local:0", "a whole number"),
        ({"kind": "local", "thread": 2}, "did you mean 'threads'"), ({"workers": 2}, "names no kind"),
        ({"kind": "local", "threads": "many"}, "a whole number"), ({"kind": "local", "workers": 1.5}, "a whole number"),
    ],
)  # fmt: skip
def test_what_no_executor_knows_is_refused_in_one_line(asked: str | dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said) as refused:
        chosen_executor(asked)
    assert "\n" not in str(refused.value)


def test_objects_of_a_program_are_not_handed_over() -> None:
    with pytest.raises(UserError, match="Identity: an executor's workers know no objects"):
        run([torch.nn.Identity()], "siim:knn", executor="local")


WORDS = ("--fractions", "0.5,1", "--device", "cpu", "--precision", "fp32")


@pytest.mark.usefixtures("folders")
def test_two_processes_give_the_bits_of_one_and_call_the_encoder_as_often(
    encoder: str, dataset: Path, encoder_calls: Path, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    words = ("run", "--encoder", f"{encoder},pixels", "--tasks", f"{dataset}:classification,{dataset}:knn", *WORDS)
    assert command_line(*words, "--results", "one", "--cache", "first")[0] == 0
    by_one = sorted(encoder_calls.read_text().split())
    encoder_calls.unlink()
    code, out, _ = command_line(*words, "--results", "two", "--cache", "second", "--executor", "local:2")
    assert (code, out.splitlines()[-1][:17]) == (0, "8 cells computed.")
    assert sorted(encoder_calls.read_text().split()) == by_one
    same_bits("one", "two")
    code, out, err = command_line("worker", "--results", "two", "--cache", "second")
    assert (code, out, err) == (0, "worker: nothing was left to do.\n", "")


SLOW = """
class Slow(Mine):
    def forward(self, images):
        if len(images) > 2:
            import time
            Path(__file__).with_name("begun.txt").write_text("")
            time.sleep(600)
        return super().forward(images)
"""


@pytest.mark.usefixtures("folders")
def test_an_interruption_ends_the_workers_and_keeps_what_is_finished(encoder: str, dataset: Path) -> None:
    file = Path(encoder.rpartition(":")[0])
    file.write_text(file.read_text() + SLOW)
    words = ["--encoder", f"pixels,{file}:Slow", "--tasks", f"{dataset}:classification", "--executor", "local:1"]
    command = [sys.executable, "-m", "cxrbench", "run", *words, "--device", "cpu"]
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        running = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, handler)
    while not file.with_name("begun.txt").exists() and running.poll() is None:
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    try:
        _, err = running.communicate(timeout=900)
    finally:
        running.kill()
    assert running.returncode == 130
    busy = re.compile(r".* min so far|waiting for 1 of 1 workers.*")
    said = [line for line in err.splitlines() if not busy.fullmatch(line)]
    assert said == ["interrupted; what was finished is kept: run the same command again to go on"]
    assert len(list(Path("results/cells").rglob("*.parquet"))) == 1
    assert not [path for path in Path("results/leases").rglob("*") if path.is_file()]
    assert not worker_processes(Path("results").resolve())


def worker_processes(results: Path) -> list[str]:
    """Commands of workers of a results folder that run."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if "worker" in words and str(results) in words and int(process.name) != os.getpid():
            found.append(" ".join(words))
    return found


@pytest.mark.parametrize(("code", "again"), [(0, 0), (1, 0), (2, 0), (7, 1)])
def test_a_worker_that_a_library_ends_is_started_again(code: int, again: int, tmp_path: Path) -> None:
    """An encoder's ``os._exit(7)``: the other cells still have a worker."""
    first = f"open({str(tmp_path / 'begun')!r}, 'x')\n    raise SystemExit({code})"
    ends_once = f"import sys\ntry:\n    {first}\nexcept FileExistsError:\n    sys.stdin.read()"
    placed = LocalExecutor(1).start([sys.executable, "-c", ends_once], [CPU])
    (one,) = placed._processes
    one.running.wait()
    try:
        assert placed.alive() == again
    finally:
        placed.stop()


REFUSED = """
import sys, time
name = sys.argv[sys.argv.index("--name") + 1]
print("error: of a library", "and what it did about it", sep="\\n", file=sys.stderr)
if name == "local-2":
    sys.stdin.read() if sys.argv[1] == "waits" else time.sleep(0.2)
print("error: cannot write to /full: No space left on device; free some space", file=sys.stderr)
raise SystemExit(7 if sys.argv[1] == name else 2)
"""


def over(placed: local.LocalWorkers) -> bool:
    """Whether no worker runs any more, once that is so."""
    while placed.alive():
        time.sleep(0.05)
    return True


def test_what_all_workers_are_refused_for_refuses_the_run_as_without_workers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    placed = LocalExecutor(2).start([sys.executable, "-c", REFUSED, "ends"], [CPU])
    assert over(placed)
    with pytest.raises(UserError, match=r"^cannot write to /full: No space left on device; free some space$"):
        placed.ended_badly()
    assert capsys.readouterr().err == "error: of a library\nand what it did about it\n"  # once, and no other line
    monkeypatch.setattr(local, "RESTARTS", 0)
    placed = LocalExecutor(2).start([sys.executable, "-c", REFUSED, "local-1"], [CPU])
    assert over(placed)
    assert placed.ended_badly() == "local-1 ended with exit code 7; local-2 ended with exit code 2"


def test_a_worker_says_why_it_is_refused_as_it_is_read(command_line: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "requests").write_text("no folder")
    code, out, err = command_line("worker", "--results", str(tmp_path), "--quiet")
    assert (code, out, len(err.splitlines())) == (local.REFUSED, "", 1)
    assert err.startswith(local.ERROR)


def test_a_worker_that_is_refused_while_others_go_on_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "SILENCE", 0.1)
    placed = LocalExecutor(2).start([sys.executable, "-c", REFUSED, "waits"], [CPU])
    try:
        deadline, told = time.monotonic() + 600, ""
        while "local-1" not in told and time.monotonic() < deadline:
            assert placed.alive()
            told += capsys.readouterr().err
            time.sleep(0.05)
        assert (
            told.splitlines()[-1]
            == "local-1 has ended: cannot write to /full: No space left on device; free some space"
        )
    finally:
        placed.stop()


STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[sys.argv.index("--name") + 1], "w").close()
time.sleep(600)
"""


def test_workers_that_do_not_end_have_one_minute_together_and_who_waits_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(local, "SILENCE", 0.1)
    monkeypatch.setattr(local, "PATIENCE", 0.2)
    placed = LocalExecutor(3).start([sys.executable, "-c", STUBBORN], [WorkerKind("cpu", 3)])
    while len(list(tmp_path.iterdir())) < 3:
        time.sleep(0.05)
    waited, wait = list[float](), subprocess.Popen.wait

    def noted(process: "subprocess.Popen[bytes]", timeout: float | None = None) -> int:
        waited.append(timeout or 0.0)
        return wait(process, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", noted)
    placed.stop()
    assert [one.running.returncode for one in placed._processes] == [-signal.SIGKILL] * 3
    assert sum(waited) <= 0.2
    assert capsys.readouterr().err.startswith("waiting for 3 of 3 workers, which keep what they have; Ctrl-C again")


ORPHAN = """
import signal, threading, time
from cxrbench.cli.cluster import worker
worker.ALONE = 0.1
signal.signal(signal.SIGTERM, signal.SIG_IGN)
threading.Thread(target=worker._end_with_parent, daemon=True).start()
time.sleep(600)
"""


def test_a_worker_that_does_not_hear_that_its_parent_has_ended_is_killed() -> None:
    """Somebody's ``except BaseException: pass`` around what an encoder does."""
    orphan = subprocess.Popen([sys.executable, "-c", ORPHAN], stdin=subprocess.PIPE)
    assert orphan.stdin is not None
    orphan.stdin.close()
    try:
        assert orphan.wait(600) == -signal.SIGKILL
    finally:
        orphan.kill()
