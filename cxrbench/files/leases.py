"""Leases: which process does a piece of work, among those of any hosts that share a folder.

The lease of ``PATH`` is a file ``PATH.1``, ``PATH.2``, ...: the highest generation is the one that counts, and says who
holds it. A file is linked to its name once its content is written, so one of many that want a generation gets it, on
NFS, too. Its holder touches it every quarter of ``ttl``. Others compare no clocks: one that sees a file unchanged for
``ttl`` seconds of its own clock takes the lease over, by making the next generation. Nobody renames a file of somebody
else, or removes one that counts; so a holder that was stopped for an hour and wakes up finds a higher generation, or
its file gone, and knows (``Lease.lost``).
"""

import contextlib
import json
import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from cxrbench.files import generations
from cxrbench.files.atomic import is_temporary, writing
from cxrbench.files.folders import below
from cxrbench.files.generations import Generation, Holder
from cxrbench.processes import is_running, this_process


class LostError(Exception):
    """Another process does the work, since this one stood still for too long: nothing of it may be touched."""


class Leases:
    """The leases of one process, which one thread renews, and what it has seen of those of others.

    ``ttl``: seconds without a renewal after which others may take a lease over. A context: its end releases all.
    """

    def __init__(self, ttl: float = 60.0) -> None:
        self.ttl = ttl
        self._seen: dict[Path, _Seen] = {}
        self._held: list[Lease] = []
        self._changing = threading.Lock()
        self._over = threading.Event()
        self._renewing: threading.Thread | None = None

    def __enter__(self) -> "Leases":
        """No lease so far."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release all, and end the thread."""
        self._over.set()
        for lease in list(self._held):
            lease.release()

    def acquire(self, path: Path, what: str) -> "Lease | Holder":
        """The lease of ``path``, or who has it; one whose holder is dead is taken over. Never waits.

        ``what``: the work, for people. Raises DiskError (ReadOnlyError) where no lease can be made.
        """
        with writing(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            while True:
                found = generations.highest(path)
                if found is not None and not self._dead(path, found):
                    return found.holder
                lease = Lease(self, path, what)
                if lease.take(found):
                    self._seen.pop(path, None)
                    self._keep(lease)
                    return lease

    def holder(self, path: Path) -> Holder | None:
        """Who has the lease of ``path``; None if ``acquire`` would get it."""
        found = generations.highest(path)
        return None if found is None or self._dead(path, found) else found.holder

    def clear(self, folder: Path, done: Callable[[Path], bool]) -> None:
        """Remove what processes that have ended left under ``folder``: nobody asks again for the lease of what is done.

        ``done``: whether the work that a path is the lease of is. Of a process of another host it is not known whether
        it has ended: what it left is cleared there. What cannot be removed stays.
        """
        for file in sorted(below(folder)):
            with contextlib.suppress(OSError):
                if is_temporary(file):
                    if generations.read_file(file, 0).has_ended:
                        file.unlink(missing_ok=True)
                elif generations.is_generation(file) and done(path := generations.leased(file)):
                    found = generations.highest(path)
                    if found is not None and found.has_ended and isinstance(lease := self.acquire(path, ""), Lease):
                        lease.release()

    def is_alive(self, path: Path) -> bool:
        """Whether the looks at ``path`` so far prove that its holder lives: it runs here, or has renewed its lease."""
        seen = self._seen.get(path)
        if seen is None:
            return False
        return seen.renewed or (seen.found.process is not None and is_running(seen.found.process))

    def _dead(self, path: Path, found: Generation) -> bool:
        """Whether a holder has ended, or has not renewed its lease for its ``ttl`` of this process's clock."""
        if found.has_ended:
            return True
        now = time.monotonic()  # stands still while this machine sleeps, and a holder on it with it
        before = self._seen.get(path)
        if before is None or before.found != found:
            self._seen[path] = _Seen(found, now, before is not None and before.found.content == found.content)
            return False
        return now - before.since > (found.ttl or self.ttl)

    def _keep(self, lease: "Lease") -> None:
        """Renew a lease until it is released."""
        with self._changing:
            self._held.append(lease)
            if self._renewing is None or not self._renewing.is_alive():
                self._renewing = threading.Thread(target=self._renew, name="leases", daemon=True)
                self._renewing.start()

    def forget(self, lease: "Lease") -> None:
        """Do not renew a lease any more."""
        with self._changing, contextlib.suppress(ValueError):
            self._held.remove(lease)

    def _renew(self) -> None:
        while not self._over.wait(self.ttl / 4):
            for lease in list(self._held):
                lease.renew()


@dataclass(frozen=True)
class _Seen:
    """A look at somebody's lease, when, and whether an earlier look found the same holder and another time."""

    found: Generation
    since: float
    renewed: bool


class Lease:
    """A lease that this process holds, or held: ``Leases.acquire`` gives it. A context, which releases it."""

    def __init__(self, leases: Leases, path: Path, what: str) -> None:
        self.path, self.token, self.what = path, secrets.token_hex(16), what
        self._leases = leases
        process, since = this_process(), datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        says = {"token": self.token, **asdict(process), "since": since, "ttl": leases.ttl, "what": what}
        self._own = Generation(0, json.dumps(says).encode() + b"\n", time.time_ns())
        self._pid, self._renewed = process.pid, _clock()
        self._lost, self._using = False, threading.RLock()

    @property
    def generation(self) -> int:
        """1, or more where it was taken over: one more for each that held it before and did not release it."""
        return self._own.number

    def __enter__(self) -> "Lease":
        """Held already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release it."""
        self.release()

    def take(self, before: Generation | None) -> bool:
        """Make the generation that follows ``before``. False if another process did, or ``before`` is no more."""
        began, number = _clock(), 1 if before is None else before.number + 1
        if not generations.make(self.path, number, self._own.content, self.token):
            return False
        # whoever decides upon what it saw long ago may find the name free, for that generation was released meanwhile
        highest = max(generations.numbers(self.path), default=0) == number
        if highest and (before is None or generations.is_there(self.path, before)):
            self._own, self._renewed = Generation(number, self._own.content, self._own.changed), began
            return True
        generations.name(self.path, number).unlink(missing_ok=True)
        return False

    def lost(self) -> bool:
        """Whether this process may no longer make anything visible. Asks the file system; once true, true for ever.

        True once there is a higher generation, or the file has gone or cannot be read. A lease that could not be
        renewed in time (the machine slept) and that nobody has taken over is taken anew.
        """
        with self._using:
            self.renew()
            try:
                found = None if self._lost else generations.highest(self.path)
            except OSError:  # what cannot be asked for is not to be relied on
                found = None
            self._lost = found is None or found.content != self._own.content
            return self._lost

    def check(self) -> None:
        """Raises LostError if ``lost``."""
        if self.lost():
            raise LostError

    def renew(self) -> None:
        """Show that the holder lives, if it is time for it."""
        with self._using:
            now, step = _clock(), self._leases.ttl / 4
            if self._lost or os.getpid() != self._pid or now - self._renewed < step / 2:
                return
            # grows by whole steps even while the clock is set back: some file systems count in seconds
            stamp = max(time.time_ns(), self._own.changed + int(step * 1e9))
            self._own = Generation(self._own.number, self._own.content, stamp)
            with contextlib.suppress(OSError):  # the next time may succeed; after ``ttl`` it must be taken anew
                late = now - self._renewed > self._leases.ttl
                self._lost = not (self.take(self._own) if late else generations.touch(self.path, self._own))
                self._renewed = now

    def release(self) -> None:
        """Let others have it. Of a lease that is lost nothing is touched, for the file may be another's by now."""
        if os.getpid() != self._pid:  # a fork copies locks as they are, and nobody would open them
            return
        self._leases.forget(self)
        with self._using:
            if self.lost():
                return
            self._lost = True
            with contextlib.suppress(OSError):  # what cannot be removed any more dies with this process
                for number in sorted(generations.numbers(self.path)):  # the highest last: until then it counts
                    if number <= self._own.number:
                        generations.name(self.path, number).unlink(missing_ok=True)


def current(path: Path) -> Holder | None:
    """Who has the lease of ``path``, as one look can tell: a dead holder of another host is still named."""
    found = generations.highest(path)
    return None if found is None or found.has_ended else found.holder


def _clock() -> float:
    """Seconds that go on while the machine sleeps, where the system has such a clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
