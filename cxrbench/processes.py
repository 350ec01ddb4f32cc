"""Which process this is, and whether another one has certainly ended, asked from wherever a note of it was found."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

ENDED = "ZX"  # states of a process that runs no more and whose number is not free yet


@dataclass(frozen=True)
class Process:
    """A process, so that no other is taken for it: numbers repeat in every container, and after every restart.

    ``boot``: of the kernel's start. ``namespace``: of process numbers. ``born``: in ticks since that start. They are
    empty and 0 where the system does not tell them.
    """

    host: str
    boot: str
    namespace: int
    pid: int
    born: int


def this_process() -> Process:
    """The one that asks."""
    return Process(platform.node(), _boot(), _namespace(), os.getpid(), _born(os.getpid()) or 0)


def has_ended(process: Process) -> bool:
    """Whether there is certainly no such process any more. False for one of another host, or where it is not known."""
    if not _is_known(process):
        return False
    try:
        os.kill(process.pid, 0)  # asks the kernel: /proc may hide the processes of other users
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    born = _born(process.pid)
    return born is not None and process.born != 0 and born != process.born


def is_running(process: Process) -> bool:
    """Whether that process certainly runs, on this machine. False where it is not known."""
    return _is_known(process) and process.born != 0 and _born(process.pid) == process.born


def _is_known(process: Process) -> bool:
    """Whether the numbers of this machine, and of this container, are those that a process was noted by."""
    here = (platform.node(), _boot(), _namespace())
    return all(here) and here == (process.host, process.boot, process.namespace)


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _namespace() -> int:
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def _born(pid: int) -> int | None:
    """When a process began, in ticks; -1 if it has ended and waits to be reaped; None if it cannot be told."""
    try:
        if os.readlink("/proc/self") != str(os.getpid()):  # this /proc shows the numbers of another namespace
            return None
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return -1 if fields[0].decode() in ENDED else int(fields[19])
    except (OSError, IndexError, ValueError):
        return None
