"""A cluster of a test, to try things by hand: a command runs beside it, and both end together."""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol


class Cluster(Protocol):
    """``env``: the environment in which commands find it."""

    env: dict[str, str]

    def __enter__(self) -> "Cluster": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


def cluster_parser(name: str) -> argparse.ArgumentParser:
    """``[--nodes 2] [--cpus 1] [COMMAND ...]``."""
    parser = argparse.ArgumentParser(description=f"Run a command beside a {name} that ends with it.")
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--cpus", type=int, default=1, help="of each node")
    parser.add_argument("command", nargs=argparse.REMAINDER, default=[])
    return parser


def run_beside(start: Callable[[Path], Cluster], name: str, problem: str, command: list[str]) -> int:
    """Start a cluster in a folder of its own and run a command (a shell, if there is none) beside it: its exit code.

    ``problem``: why there can be no such cluster here, which ends this process.
    """
    if problem:
        raise SystemExit(f"no {name}: {problem}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # leaves the blocks below, as Ctrl-C does
    with tempfile.TemporaryDirectory(prefix=f"{name.lower()}-") as folder, start(Path(folder)) as cluster:
        shell = [os.environ.get("SHELL", "bash")]
        return subprocess.run(command or shell, env=cluster.env, check=False).returncode
