"""What runs in a job of Slurm: a worker, and somebody beside it who is told when time is over.

Imported by jobs on nodes, before any worker: it imports nothing that is slow.
"""

import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from cxrbench.executors.child import Child

ENDED = {-signal.SIGTERM, -signal.SIGINT, 128 + signal.SIGTERM, 128 + signal.SIGINT}
"""Exit codes of a worker that was told to end."""
LAST_WORD = 300.0
"""Seconds that a job whose worker was ended by SIGTERM waits for Slurm to end or requeue it."""


class WorkerJob:
    """A job of submitit that is requeued when its time is over or it is preempted, and goes on from the journal.

    ``command``: the worker's, to which the name of the job and its cores are added.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.command = tuple(command)
        self.child: Child | None = None

    def __call__(self) -> int:
        """Run the worker to its end; 0, or 1 if cells have failed. Exits if it ended otherwise: the job has failed."""
        self.child = Child([*self.command, *told_by_slurm()])
        code = self.child.wait()
        assert code is not None
        if code in ENDED:
            # scancel, or a preemption with a time of grace: to end now would count as done, and not be requeued
            time.sleep(LAST_WORD)
        if code not in (0, 1):
            sys.exit(code if code > 0 else 128 - code)  # as a shell says that a signal has ended it
        return code

    def checkpoint(self) -> Any:
        """Called by submitit in the handler of the signal ahead of the end: what is to run when the job is back."""
        from submitit.helpers import DelayedSubmission  # pyright: ignore[reportMissingImports]

        if self.child is not None:
            self.child.end()
        return DelayedSubmission(WorkerJob(self.command))


def told_by_slurm() -> list[str]:
    """Options of a worker that only its job knows: its name, and the cores that it was given."""
    array, task, job = (os.environ.get(f"SLURM_{name}") for name in ("ARRAY_JOB_ID", "ARRAY_TASK_ID", "JOB_ID"))
    name = f"slurm-{array}_{task}" if array and task else f"slurm-{job}"
    cpus = os.environ.get("SLURM_CPUS_PER_TASK") or os.environ.get("SLURM_CPUS_ON_NODE")
    return ["--name", name, *(["--threads", cpus] if cpus else [])]
