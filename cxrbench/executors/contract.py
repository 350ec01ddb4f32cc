"""What an executor is: it starts workers somewhere, and knows whether they still run. Workers find their work alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cxrbench.schedule.graph import Needs


@dataclass(frozen=True)
class WorkerKind:
    """Work for one kind of worker: ``units`` of a plan (parts and cells) that need a GPU, or none."""

    needs: Needs
    units: int


class Placed(Protocol):
    """Workers that an executor has started."""

    @property
    def cancel_hint(self) -> str:
        """What goes on after Ctrl-C on the submitting side, and how to cancel it: one line.

        Empty where the workers end with the submitting side: ``stop`` is called then.
        """
        ...

    def alive(self) -> int:
        """How many workers run, or wait for a place to run."""
        ...

    def ended_badly(self) -> str:
        """Why workers ended that ended without having done their work: one line, empty where none did.

        May raise UserError for what would have ended a run without workers, too (a full disk).
        """
        ...

    def finish(self) -> None:
        """Everything is done: workers end by themselves, and those that wait for a place need not come."""
        ...

    def stop(self) -> None:
        """End all workers and wait for it; what they have finished is kept."""
        ...


class Executor(Protocol):
    """A way to start workers, e.g. by Slurm."""

    def start(self, command: Sequence[str], kinds: Sequence[WorkerKind]) -> Placed:
        """Start workers: ``command``, to which each adds its own options of ``cxrbench worker``.

        E.g. ``--name NAME --shard i/N --needs gpu --threads 4``. It is to be run in the current folder. There is no use
        in more workers than there are units. Raises UserError where none can be started.
        """
        ...
