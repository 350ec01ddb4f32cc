"""Workers as tasks of a Ray cluster that is there already."""

import importlib
import importlib.util
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrbench.errors import UserError, first_line
from cxrbench.executors.child import Child
from cxrbench.executors.contract import WorkerKind
from cxrbench.executors.options import number, refuse_unknown, whole
from cxrbench.files.names import plain

OPTIONS = ("address", "cpu_workers", "cpus", "gpus")
ANSWER = 10.0  # seconds in which the head of a cluster takes a connection
PASSED = ("CXRBENCH_", "HF_", "OMP_", "MKL_", "OPENBLAS_", "TORCH_")
"""How variables begin that workers get from the environment of the submitting side."""


def _ray() -> Any:
    """The library. By its name alone, for without it a type checker takes this module to be meant."""
    return importlib.import_module("ray")


@dataclass(frozen=True)
class Ray:
    """``workers`` tasks with ``cpus`` and ``gpus`` each (None: as many as the cluster has room for), ``cpu_workers``
    without a GPU beside them. ``gpus``: a fraction, where workers share one; None: 1 if there are any and cells that
    need them. ``address``: the cluster's; None: what RAY_ADDRESS says, or the one that runs on this machine.
    """

    workers: int | None = None
    address: str | None = None
    cpus: float = 1
    gpus: float | None = None
    cpu_workers: int = 0

    def start(self, command: Sequence[str], kinds: Sequence[WorkerKind]) -> "RayTasks":
        """Hand the tasks over. Their logs are in the results folder's ``ray``."""
        ray = _ray()
        address = self.address or os.environ.get("RAY_ADDRESS") or "auto"
        try:
            _look_for(address)
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, namespace="cxrbench")
        except Exception as error:  # no cluster, another version, no network: Ray raises many kinds
            where = "on this machine" if address == "auto" else f"at {plain(address)}"
            raise UserError(
                f"no Ray cluster {where} ({first_line(error)}): "
                "give --executor-option address=HOST:PORT, or start one: ray start --head"
            ) from error
        units, there = {kind.needs: kind.units for kind in kinds}, ray.cluster_resources()
        gpus = self.gpus if self.gpus is not None else float(bool(units.get("gpu") and there.get("GPU")))
        if gpus > there.get("GPU", 0) or self.cpus > there.get("CPU", 0):
            raise UserError(
                f"no worker has room in this Ray cluster: it has {there.get('CPU', 0):g} CPUs and "
                f"{there.get('GPU', 0):g} GPUs, and each asks for {self.cpus:g} and {gpus:g}"
            )
        room = int(min(there.get("GPU", 0) / gpus if gpus else float("inf"), there.get("CPU", 0) / self.cpus))
        beside = min(self.cpu_workers, units.get("cpu", 0)) if gpus else 0
        count = max(1, min(self.workers or room, sum(units.values())))
        first = ["--needs", "gpu-first"] if beside else []
        threads = ["--threads", str(max(1, int(self.cpus)))]
        told = [(["--name", f"ray-{i + 1}", "--shard", f"{i + 1}/{count}", *first], gpus) for i in range(count)]
        told += [(["--name", f"ray-cpu-{i + 1}", "--needs", "cpu", "--device", "cpu"], 0.0) for i in range(beside)]
        folder = Path(command[command.index("--results") + 1]).absolute() / "ray"
        environment = {name: value for name, value in os.environ.items() if name.startswith(PASSED)}
        # A task whose node dies is run again, on another one, however often: what it has done is in the store.
        task: Any = ray.remote(max_retries=-1)(attended)
        return RayTasks(folder, {
            words[1]: task.options(num_cpus=self.cpus, num_gpus=share, name=words[1]).remote(
                [*command, *words, *threads], str(Path.cwd()), str(folder / f"{words[1]}.log"), environment
            )
            for words, share in told
        })  # fmt: skip


def _look_for(address: str) -> None:
    """Raise OSError if nobody listens at ``HOST:PORT``, for which Ray itself waits for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=ANSWER).close()


def attended(command: Sequence[str], folder: str, log: str, environment: Mapping[str, str]) -> int:
    """Run a worker to its end, inside of a task of Ray: its exit code. Where the task is cancelled the worker ends."""
    if not os.path.isdir(folder):
        raise RuntimeError(f"{os.uname().nodename} has no folder {folder}: the nodes of a cluster share it")
    os.chdir(folder)
    child = Child(command, log=Path(log), environment=environment)
    try:
        code = child.wait()
        assert code is not None
        return code
    except BaseException:
        child.end()
        raise


def executor(workers: int | None, options: Mapping[str, Any]) -> Ray:
    """``ray`` with ``address``, ``cpus`` and ``gpus`` of each worker, and ``cpu_workers``.

    Raises UserError for another option, a value that cannot be, and where Ray is not installed.
    """
    refuse_unknown("ray", options, OPTIONS)
    beside = whole("ray", options, "cpu_workers", 0)
    cpus, gpus = number("ray", options, "cpus", 1.0), number("ray", options, "gpus", None)
    if not cpus:
        raise UserError("executor ray: cpus=0: a worker computes, so give it a core or a part of one")
    if importlib.util.find_spec("ray") is None:
        raise UserError("executor ray needs one package more: pip install 'cxrbench[ray]'")
    address = None if options.get("address") is None else str(options["address"])
    return Ray(workers, address, cpus, gpus, beside)


class RayTasks:
    """Placed: tasks by the names of their workers. They belong to the submitting side and end with it."""

    cancel_hint = ""

    def __init__(self, folder: Path, tasks: Mapping[str, Any]) -> None:
        self.folder, self.tasks = folder, tasks

    def alive(self) -> int:
        """How many run, or wait for room."""
        ray = _ray()
        _, left = ray.wait(list(self.tasks.values()), num_returns=len(self.tasks), timeout=0)
        return len(left)

    def ended_badly(self) -> str:
        """Which workers ended with another exit code than 0 or 1 (cells have failed), or could not run at all."""
        ray = _ray()
        said = []
        for name, task in self.tasks.items():
            if not ray.wait([task], timeout=0)[0]:
                continue
            try:
                code = ray.get(task)
            except Exception as error:  # Ray's own, and what was raised in the task
                said.append(f"{name}: {first_line(error)}")
            else:
                if code not in (0, 1):
                    said.append(f"{name} ended with exit code {code} (see {self.folder / name}.log)")
        return "; ".join(said[:3]) + ("; ..." if len(said) > 3 else "")

    def finish(self) -> None:
        """As ``stop``: who runs is at its end, and who waits for room need not come."""
        self.stop()

    def stop(self) -> None:
        """Cancel all tasks, wait until their workers have ended, and leave the cluster."""
        ray = _ray()
        for task in self.tasks.values():
            ray.cancel(task)
        ray.wait(list(self.tasks.values()), num_returns=len(self.tasks), timeout=90)
        ray.shutdown()
