"""Taking turns: of several processes that want one thing made, one makes it; the others wait, or are refused."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cxrbench.errors import UserError
from cxrbench.files.generations import Holder
from cxrbench.files.leases import Lease, Leases

SHORTEST, LONGEST = 0.02, 1.0  # seconds between two looks


@contextmanager
def turn(path: Path, what: str, wait: Callable[[], None] = lambda: None) -> Iterator[Lease]:
    """Hold the lease of ``path`` in the body. ``wait`` is called once if others have it: they are waited for.

    Raises DiskError (ReadOnlyError) where no lease can be made.
    """
    with Leases() as leases:
        found, pause = leases.acquire(path, what), SHORTEST
        if isinstance(found, Holder):
            wait()
        while isinstance(found, Holder):
            pause = _slept(pause)
            found = leases.acquire(path, what)
        with found:
            yield found


def at_once(leases: Leases, path: Path, what: str) -> Lease | Holder:
    """The lease of ``path``, or who certainly has it.

    A holder that runs on this machine, or that nobody has, is known at once. One elsewhere is watched until it renews
    its lease, or does not within its time and is dead.
    """
    found, pause = leases.acquire(path, what), SHORTEST
    while isinstance(found, Holder) and not leases.is_alive(path):
        pause = _slept(pause)
        found = leases.acquire(path, what)
    return found


def check_still(lease: Lease) -> None:
    """Raises UserError if another process has taken the lease over: what it makes is its own from then on."""
    if lease.lost():
        raise UserError(f"this process stood still for so long that another one took over {lease.what}: run it again")


def _slept(pause: float) -> float:
    """Sleep about so long; gives how long to sleep the next time."""
    time.sleep(random.uniform(0.5, 1.0) * pause)
    return min(2 * pause, LONGEST)
