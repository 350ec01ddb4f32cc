"""Workers as processes of this machine: one per GPU that is visible, else one, or as many as are asked for."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from cxrbench.cores import THREADS, cores
from cxrbench.errors import UserError
from cxrbench.executors.child import PATIENCE
from cxrbench.executors.contract import WorkerKind
from cxrbench.executors.options import refuse_unknown, whole
from cxrbench.features.device import may_have_accelerator
from cxrbench.files.names import visible

REFUSED = 2  # exit code of a worker that cannot work at all (a full disk), and how the line begins that says why
ERROR = "error: "
OWN = (0, 1, REFUSED, 130)  # how a worker ends by itself: done, cells failed, refused, interrupted
SILENCE = 10.0  # seconds that workers may take to end before whoever waits is told
RESTARTS = 20  # workers, in all, that are started again after something killed them


@dataclass(frozen=True)
class LocalExecutor:
    """``workers``: None for one per visible GPU. ``threads`` of each: None for an equal share of the cores."""

    workers: int | None = None
    threads: int | None = None

    def start(self, command: Sequence[str], kinds: Sequence[WorkerKind]) -> "LocalWorkers":
        """Start the processes; what they say on stderr is passed on, each line once."""
        told = assigned(self, kinds, visible_gpus(), cores(), os.environ)
        return LocalWorkers([_WorkerProcess([*command, *one.options], one.environment) for one in told])


def executor(workers: int | None, options: Mapping[str, Any]) -> LocalExecutor:
    """``local``, with ``threads`` per worker. Raises UserError for another option, or a value that cannot be."""
    refuse_unknown("local", options, ("threads",))
    return LocalExecutor(workers, whole("local", options, "threads", None, least=1))


@dataclass(frozen=True)
class Assignment:
    """What one worker is told beside what all are told, and what its environment says differently."""

    options: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


def assigned(
    local: LocalExecutor, kinds: Sequence[WorkerKind], gpus: Sequence[str], cores: int, environ: Mapping[str, str]
) -> list[Assignment]:
    """Who does what: workers in turn on the GPUs, and beside them one for cells that need none.

    ``gpus``: as CUDA_VISIBLE_DEVICES names them. Threads are dealt out so that there are no more than cores, unless
    somebody has said how many (``threads``, OMP_NUM_THREADS); one worker alone has what a run without workers has.
    """
    units = {kind.needs: kind.units for kind in kinds}
    count = max(1, min(local.workers or len(gpus), sum(units.values())))
    gpus = gpus if units.get("gpu") else ()
    beside = bool(gpus and units.get("cpu") and cores > count)
    share = max(1, cores // (count + beside))
    said = environ.get(THREADS[0], "")
    threads = local.threads or (min(int(said), share) if said.isdecimal() and int(said) else share)
    alone = count + beside == 1 and local.threads is None
    many = () if alone else ("--threads", str(threads))
    environment = {} if alone else dict.fromkeys(THREADS, str(threads))
    told = []
    for i in range(count):
        own = ("--name", f"local-{i + 1}", "--shard", f"{i + 1}/{count}", *many)
        gpu = {"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} if gpus else {}
        told.append(Assignment((*own, *(("--needs", "gpu-first") if beside else ())), environment | gpu))
    if beside:
        own = ("--name", "local-cpu", "--needs", "cpu", "--device", "cpu", *many)
        told.append(Assignment(own, environment | {"CUDA_VISIBLE_DEVICES": ""}))
    return told


def visible_gpus() -> list[str]:
    """The GPUs of this process, as CUDA_VISIBLE_DEVICES names them."""
    if not may_have_accelerator():
        return []
    import torch

    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return named or [str(i) for i in range(torch.cuda.device_count())]


class _WorkerProcess:
    """A worker, and how to start it again."""

    heard: threading.Thread  # ends when all is read that it says

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.command, self.environment = command, environment
        self.name = command[command.index("--name") + 1]
        self.refusal, self.since = "", 0.0  # why it was refused, and when that was heard
        self.start()

    def start(self) -> None:
        # A session of its own: Ctrl-C is for who submitted, and ends the workers in its turn. Their stdin is a pipe
        # that nobody writes to: it is at its end once the submitter is, in whatever way.
        self.running = subprocess.Popen(
            [*self.command, "--with-parent", "--quiet"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, start_new_session=True, env=os.environ | self.environment,
        )  # fmt: skip


class LocalWorkers:
    """Placed: processes, ended with the one that started them."""

    cancel_hint = ""

    def __init__(self, processes: Sequence[_WorkerProcess]) -> None:
        self._processes, self._restarts = processes, RESTARTS
        self._said, self._saying, self._stopping = set[str](), threading.Lock(), False
        for one in processes:
            self._listen(one)

    def alive(self) -> int:
        """How many run. One that something has killed is started again, a few times in all."""
        for one in self._processes:
            code = one.running.poll()
            if code is not None and code not in OWN and self._restarts:
                self._restarts -= 1
                self._say(f"{one.name} was ended by {_signal(code)}: another worker takes its place")
                one.start()
                self._listen(one)
        alive = sum(one.running.poll() is None for one in self._processes)
        for one in self._processes:
            if alive and one.refusal and time.monotonic() - one.since > SILENCE:  # the others may be refused, too
                self._say(f"{one.name} has ended: {one.refusal}")
        return alive

    def ended_badly(self) -> str:
        """Which were killed, or could not begin. Raises UserError where none was killed and one says why it ended."""
        for one in self._processes:
            one.heard.join(SILENCE)
        found = [(one.name, one.running.poll()) for one in self._processes]
        refusals = [one.refusal for one in self._processes if one.refusal]
        if refusals and all(code in OWN for _, code in found):
            raise UserError(refusals[0])
        said = [f"{name} was ended by {_signal(code)}" for name, code in found if code is not None and code < 0]
        said += [f"{name} ended with exit code {code}" for name, code in found if code is not None and code > 1]
        return "; ".join(said)

    def finish(self) -> None:
        """They see it, or end with this process."""

    def stop(self) -> None:
        """SIGTERM, as of a scheduler; who has not ended a minute later, or at a second Ctrl-C, is killed."""
        self._restarts, self._stopping = 0, True
        try:
            for one in self._processes:
                one.running.terminate()
            if left := self._left(SILENCE):
                which = f"{left} of {len(self._processes)} workers, which keep what they have"
                print(f"waiting for {which}; Ctrl-C again ends them at once", file=sys.stderr, flush=True)
                self._left(PATIENCE - SILENCE)
        finally:
            for one in self._processes:
                one.running.kill()
                one.running.wait()

    def _left(self, seconds: float) -> int:
        """How many run yet after so many seconds, or less where none does."""
        deadline = time.monotonic() + seconds
        for one in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                one.running.wait(max(0.0, deadline - time.monotonic()))
        return sum(one.running.poll() is None for one in self._processes)

    def _listen(self, one: _WorkerProcess) -> None:
        """Pass on what a worker says, but for why it was refused, where that is its last line."""

        def listen(process: subprocess.Popen[bytes], stream: IO[bytes]) -> None:
            last = ""
            for line in stream:
                if last:
                    self._say(last)
                last = line.decode(errors="replace").rstrip("\n")
                if not last.startswith(ERROR):
                    self._say(last)
                    last = ""
            if last and process.wait() == REFUSED:
                one.refusal, one.since = last.removeprefix(ERROR), time.monotonic()
            elif last:
                self._say(last)

        assert one.running.stderr is not None
        one.heard = threading.Thread(target=listen, args=(one.running, one.running.stderr), daemon=True)
        one.heard.start()

    def _say(self, line: str) -> None:
        with self._saying:
            if line not in self._said and not self._stopping:  # that they are interrupted need not be told twice
                self._said.add(line)
                print(visible(line), file=sys.stderr, flush=True)


def _signal(code: int) -> str:
    """What has ended a process, a signal mostly; SIGKILL is what Linux sends where memory has run out."""
    if code > 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name if -code in {s.value for s in signal.Signals} else f"signal {-code}"
    return f"{name} (out of memory?)" if name == "SIGKILL" else name
