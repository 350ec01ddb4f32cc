"""A worker's process, inside of what a cluster has started for it: it ends with that, in whatever way that ends."""

import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

PATIENCE = 60.0
"""Seconds that a worker has to keep what it is at before it is killed."""
NOTICES = {signal.SIGUSR1, signal.SIGUSR2}
"""What schedulers send to every process of a job ahead of its end: for the one that started the worker, which would die
of it."""


class Child:
    """``cxrbench worker`` as a child of this process. Linux, as clusters are.

    ``log``: the file to which it writes, None for where this process does. ``environment``: beside its own.
    """

    def __init__(
        self, command: Sequence[str], *, log: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        self.command = tuple(command)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, NOTICES)  # a child inherits what is blocked
        stream: IO[bytes] | None = None
        try:
            if log is not None:
                log.parent.mkdir(parents=True, exist_ok=True)
                stream = open(log, "ab")  # noqa: SIM115  (closed below)
            # Its stdin is a pipe that nobody writes to, which ends when this process does, however (--with-parent).
            self._process = subprocess.Popen(
                [*self.command, "--with-parent", "--quiet"], stdin=subprocess.PIPE, stdout=stream, stderr=stream,
                env=os.environ | dict(environment or {}),
            )  # fmt: skip
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            if stream is not None:
                stream.close()
        self._ended = os.pidfd_open(self._process.pid)

    def wait(self, seconds: float | None = None) -> int | None:
        """Its exit code (negative: minus the signal that killed it); None if it still runs after so many seconds.

        May be called from a signal's handler while this process waits already.
        """
        ready, _, _ = select.select([self._ended], [], [], seconds)
        return self._process.wait() if ready else None

    def end(self) -> int:
        """End it as a scheduler does, by SIGTERM, and wait; who takes more than a minute is killed. Its exit code."""
        self._process.terminate()
        if (code := self.wait(PATIENCE)) is None:
            self._process.kill()
            code = self._process.wait()
        return code
