"""Whether a file is still what it was, without reading all of a big one."""

import os
from dataclasses import dataclass
from pathlib import Path

from cxrbench.files.digests import sampled_digest

SMALL = 1 << 20  # bytes; larger files are sampled
BLOCKS, BLOCK = 16, 1 << 16
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
    if not path.exists():
        return Stamp(str(path.absolute()), ABSENT, 0, "")
    with open(path, "rb") as handle:
        facts = os.fstat(handle.fileno())
        digest = sampled_digest(
            facts.st_size,
            lambda offset, count: os.pread(handle.fileno(), count, offset),
            blocks=BLOCKS,
            block=SMALL if facts.st_size <= SMALL else BLOCK,
        )
    return Stamp(str(path.absolute()), facts.st_size, facts.st_mtime_ns, digest)


def holds(before: Stamp) -> bool:
    """Whether the file is the same: a small one by its content, a big one by its time as well."""
    try:
        now = stamp(Path(before.path))
    except OSError:
        return False
    same_time = now.mtime_ns == before.mtime_ns or now.size <= SMALL
    return same_time and (now.size, now.digest) == (before.size, before.digest)
