"""Servers of a test, as children that end with it: whatever ends the test, nothing of it stays."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

PATIENCE = 600.0
"""Seconds after which a cluster that does not come up is given up."""


class NotStartedError(Exception):
    """A server did not come up; the end of its log."""


def lacking(*programs: str) -> str:
    """Which of the programs are not installed, in one line; "" if all are."""
    missing = [name for name in programs if shutil.which(name) is None]
    return f"not installed here: {', '.join(missing)}" if missing else ""


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on; each another."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def wait_until(true: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Look every tenth of a second. Raises TimeoutError, which says what did not come."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.1)


@dataclass
class Daemons:
    """Servers in the foreground, by name; each writes ``LOGS/NAME.log`` and is ended with the process that started it.

    ``mark``: a variable of ``env`` with a value that no other cluster has, by which what they leave behind (the
    processes of jobs) is found. The process that starts them must not have it.
    """

    logs: Path
    env: Mapping[str, str]
    mark: str
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, command: Sequence[str], **variables: str) -> None:
        """Start one, with variables of its own. The kernel ends it when this process is killed."""
        self.logs.mkdir(parents=True, exist_ok=True)
        with open(self.logs / f"{name}.log", "ab") as log:
            self.running[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *command], env={**self.env, **variables}, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def check(self) -> None:
        """Raise NotStartedError if one has ended, with the last lines of its log."""
        for name, process in self.running.items():
            if process.poll() is not None:
                lines = (self.logs / f"{name}.log").read_text(errors="replace").splitlines()
                raise NotStartedError(f"{name} ended with {process.returncode}: {' / '.join(lines[-3:])}")

    def kill(self, name: str, **variables: str) -> None:
        """Kill one as a failing machine does, with all processes of the cluster that have these variables."""
        process = self.running.pop(name)
        process.kill()
        process.wait()
        kill_marked(**{self.mark: self.env[self.mark]}, **variables)

    def stop(self) -> None:
        """End all, the last one first, and then every process that carries the mark."""
        for name in [*self.running][::-1]:
            process = self.running.pop(name)
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        kill_marked(**{self.mark: self.env[self.mark]})


def kill_marked(**variables: str) -> None:
    """Kill every process that ``marked`` finds."""
    for pid in marked(**variables):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def marked(**variables: str) -> list[int]:
    """Processes, but for this one, whose environment has these variables with these values."""
    found = []
    wanted = {f"{name}={value}".encode() for name, value in variables.items()}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with suppress(OSError):
                if wanted <= {*(folder / "environ").read_bytes().split(b"\0")}:
                    found.append(int(folder.name))
    return found
