"""One of several "hosts" on this machine: its own PIDs, network and name, and workers that are killed at random.

    unshare --pid --net --uts --fork --mount-proc python tests/cluster/host.py '{"name": "one", "workers": 12, ...}'

It imports what workers need once and forks each of them, which is what makes a dozen affordable. Prints, as JSON, how
many it killed and how its workers ended. ``saves``: a file that gets a line for every cell that a worker has saved.
"""

import importlib
import json
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cxrbench.cli import main as cli
from cxrbench.engine.results import Results
from cxrbench.predictions import Predictions
from cxrbench.task import Cell


@dataclass(frozen=True)
class Host:
    """``words``: of ``cxrbench worker``. ``kills``: at random (``seed``), after 0 to 2 x ``pause`` saved cells each.

    ``modules``: a file with the names of what is to be imported before.
    """

    name: str
    workers: int
    words: list[str]
    saves: str
    logs: str
    modules: str
    kills: int
    pause: float
    seed: int


def preload(modules: Path) -> None:
    """Import what a process that did the same work had imported, so that workers need not. It starts no thread."""
    for name in modules.read_text().split():
        with suppress(ImportError):  # names that packages make up
            importlib.import_module(name)


def tell_saves(path: Path) -> None:
    """Leave a line per saved cell: one write each, which the kernel appends whole."""
    saved = Results.save

    def save(results: Results, cell: Cell, predictions: Predictions, permit: Callable[[], None]) -> None:
        saved(results, cell, predictions, permit)
        with open(path, "ab", buffering=0) as log:
            log.write(f"{cell.encoder} {cell.task} {cell.fraction} {cell.seed}\n".encode())

    setattr(Results, "save", save)  # noqa: B010  (the parameter self has another name here)


def start(host: Host, k: int) -> int:
    """Fork worker k; its PID."""
    if pid := os.fork():
        return pid
    log = os.open(Path(host.logs) / f"{host.name}-{k}.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.argv = ["cxrbench", "worker", *host.words, "--name", f"{host.name}-{k}"]
    code = 0
    try:
        cli.main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def run(host: Host) -> dict[str, object]:
    """Keep all workers running until each has ended by itself, and kill some meanwhile."""
    dice, kills, codes, saves = random.Random(host.seed), 0, list[int](), Path(host.saves)
    running = {start(host, k): k for k in range(host.workers)}
    due = dice.uniform(0, 2 * host.pause)
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid in running:
            k, code = running.pop(pid), os.waitstatus_to_exitcode(status)
            if code == -signal.SIGKILL:
                running[start(host, k)] = k  # as a scheduler does
            else:
                codes.append(code)
        elif kills < host.kills and saves.exists() and saves.read_bytes().count(b"\n") > due:
            os.kill(dice.choice([*running]), signal.SIGKILL)
            kills += 1
            due += dice.uniform(0, 2 * host.pause)
        else:
            time.sleep(0.05)
    return {"host": socket.gethostname(), "namespace": os.readlink("/proc/self/ns/pid"), "kills": kills, "codes": codes}


if __name__ == "__main__":
    given = Host(**json.loads(sys.argv[1]))
    socket.sethostname(given.name)
    preload(Path(given.modules))
    tell_saves(Path(given.saves))
    print(json.dumps(run(given)))
