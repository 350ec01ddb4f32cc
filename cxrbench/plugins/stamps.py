"""Whether a file is still what it was, without reading all of a big one."""

import os
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cxrbench.files.digests import sampled_digest

SMALL = 1 << 20  # bytes; larger files are sampled
BLOCKS, BLOCK = 16, 1 << 16
SETTLED = 2 * 10**9  # ns since a file's last change, below which it may change again and look the same
ABSENT = -1  # the size of a file that is not there


@dataclass(frozen=True)
class Stamp:
    """A file as it was seen. ``digest``: of all its bytes if it is small, else of blocks spread evenly over it."""

    path: str
    size: int
    mtime_ns: int
    digest: str


def stamp(path: Path) -> Stamp:
    """The file as it is now, ABSENT included. Raises OSError."""
    return _now(str(path.absolute()))


def _now(path: str) -> Stamp:
    """Of an absolute path. A plan of many encoders asks tens of thousands of times: no Path is made."""
    try:
        seen = os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # a name with a NUL is no file's
        return Stamp(path, ABSENT, 0, "")
    if time.time_ns() - max(seen.st_mtime_ns, seen.st_ctime_ns) < SETTLED:
        return _stamp(path)
    return _stamp_at(path, (seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino))


@lru_cache(maxsize=4096)  # the encoders of a plan rest on the same sources
def _stamp_at(path: str, look: tuple[int, ...]) -> Stamp:
    """Of a file that looks so from outside, and has for a while: not read again as long as it does."""
    del look
    return _stamp(path)


def _stamp(path: str) -> Stamp:
    with open(path, "rb") as handle:
        facts = os.fstat(handle.fileno())
        digest = sampled_digest(
            facts.st_size,
            lambda offset, count: os.pread(handle.fileno(), count, offset),
            blocks=BLOCKS,
            block=SMALL if facts.st_size <= SMALL else BLOCK,
        )
    return Stamp(path, facts.st_size, facts.st_mtime_ns, digest)


def holds(before: Stamp) -> bool:
    """Whether the file is the same: a small one by its content, a big one by its time as well."""
    try:
        now = _now(before.path)
    except OSError:
        return False
    same_time = now.mtime_ns == before.mtime_ns or now.size <= SMALL
    return same_time and (now.size, now.digest) == (before.size, before.digest)
