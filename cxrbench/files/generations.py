"""The files behind a lease: ``PATH.1``, ``PATH.2``, ..., of which the highest counts (``leases.py``)."""

import contextlib
import errno
import json
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cxrbench.files.atomic import TEMPORARY
from cxrbench.processes import Process, has_ended

LONGEST = 1 << 16  # bytes: nothing of ours is longer
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
LOOKS = 100
NAME = re.compile(r".+\.lock\.[1-9][0-9]*")


@dataclass(frozen=True)
class Holder:
    """Who has a lease, for people: ``since`` is UTC by the holder's clock. Empty and 0 where the file does not say."""

    host: str
    pid: int
    since: str
    what: str

    def __str__(self) -> str:
        """``process 17 of node3, since 2026-01-31 12:00:00 UTC``."""
        return f"process {self.pid} of {self.host}, since {self.since} UTC" if self.host else "an unknown process"


@dataclass(frozen=True)
class Generation:
    """One generation's file as one look has found it; ``changed``: its time in nanoseconds, by whatever clock."""

    number: int
    content: bytes
    changed: int

    @cached_property
    def _says(self) -> dict[str, Any]:
        """What is written in it; nothing if it is damaged, or being written."""
        try:
            content = json.loads(self.content)
        except (ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    @property
    def holder(self) -> Holder:
        """Who made it."""
        says = self._says
        pid = says.get("pid")
        texts = (str(says.get(name, "")) for name in ("since", "what"))
        return Holder(str(says.get("host", "")), pid if isinstance(pid, int) else 0, *texts)

    @property
    def process(self) -> Process | None:
        """The process that made it, if the file says enough to know it from others."""
        host, boot, namespace, pid, born = map(self._says.get, ("host", "boot", "namespace", "pid", "born"))
        texts, numbers = (host, boot), (namespace, pid, born)
        known = all(isinstance(text, str) for text in texts) and all(isinstance(number, int) for number in numbers)
        return Process(host, boot, namespace, pid, born) if known and pid > 0 else None  # type: ignore[arg-type, operator]

    @property
    def has_ended(self) -> bool:
        """Whether the process that made it has certainly ended."""
        return self.process is not None and has_ended(self.process)

    @property
    def token(self) -> str:
        """What no other lease says; empty if the file does not say it."""
        return str(self._says.get("token", ""))

    @property
    def ttl(self) -> float | None:
        """Seconds within which its holder promises to touch it."""
        ttl = self._says.get("ttl")
        return float(ttl) if isinstance(ttl, int | float) else None


def highest(path: Path) -> Generation | None:
    """The generation that counts, or None if there is none. Raises OSError."""
    for _ in range(LOOKS):
        if not (found := numbers(path)):
            return None
        with contextlib.suppress(FileNotFoundError):  # released between the two
            return read(path, max(found))
    raise OSError(errno.EIO, "what is listed cannot be opened", str(path))


def numbers(path: Path) -> list[int]:
    """The generations that lie there, in any order. Opening the folder is what makes NFS ask its server."""
    begin = f"{path.name}."
    try:
        with os.scandir(path.parent) as entries:
            ends = [entry.name.removeprefix(begin) for entry in entries if entry.name.startswith(begin)]
    except FileNotFoundError:
        return []
    return [int(end) for end in ends if _is_number(end)]


def read(path: Path, number: int) -> Generation:
    """A generation. Raises FileNotFoundError, OSError."""
    return read_file(name(path, number), number)


def read_file(file: Path, number: int) -> Generation:
    """A generation from its file. Opening it is what makes NFS ask its server. Raises FileNotFoundError, OSError."""
    try:
        with open(file, "rb") as handle:
            return Generation(number, handle.read(LONGEST), os.fstat(handle.fileno()).st_mtime_ns)
    except OSError as error:
        if error.errno == errno.ESTALE:  # NFS: removed while it was read
            raise FileNotFoundError(*error.args) from error
        raise


def is_there(path: Path, before: Generation) -> bool:
    """Whether a generation is still the file that was seen."""
    try:
        return read(path, before.number).content == before.content
    except FileNotFoundError:
        return False


def touch(path: Path, own: Generation) -> bool:
    """Give a generation the time ``own.changed``. False if its file is another's, or has gone. Raises OSError."""
    try:
        with open(name(path, own.number), "rb") as handle:
            if handle.read(LONGEST) != own.content:
                return False
            os.utime(handle.fileno(), ns=(own.changed, own.changed))
            return True
    except FileNotFoundError:
        return False


def is_lease(path: Path) -> bool:
    """Whether a file is a lease of a name that ends in ``.lock``, as those of caches and data do."""
    return NAME.fullmatch(path.name) is not None


def is_generation(file: Path) -> bool:
    """Whether a file's name ends as those of generations do."""
    return _is_number(file.suffix.removeprefix("."))


def _is_number(end: str) -> bool:
    return end.isascii() and end.isdecimal() and not end.startswith("0")


def name(path: Path, number: int) -> Path:
    """The file of a generation."""
    return path.with_name(f"{path.name}.{number}")


def leased(file: Path) -> Path:
    """What the file of a generation is a lease of."""
    return file.with_suffix("")


def make(path: Path, number: int, content: bytes, token: str) -> bool:
    """Make a generation, unless another process has: whole at once, where the file system has links. Raises OSError.

    ``token``: what no other process says, for the name of the file while it is written.
    """
    temporary = path.with_name(f".{path.name[:120]}.{token}{TEMPORARY}")
    _write_new(temporary, content)
    try:
        os.link(temporary, name(path, number))
    except FileExistsError:  # perhaps made by this very call: NFS repeats one whose answer was lost
        return is_there(path, Generation(number, content, 0))
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        try:  # others may see it empty for a moment, and take it for a lease like any other
            _write_new(name(path, number), content)
        except FileExistsError:
            return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _write_new(file: Path, content: bytes) -> None:
    """Make a file. Raises FileExistsError if there is one, or a link."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(file, flags, 0o666), "wb") as handle:
        handle.write(content)
