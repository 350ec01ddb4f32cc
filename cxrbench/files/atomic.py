"""Files that are there whole or not at all."""

import errno
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cxrbench.errors import DiskError, UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)
BROKEN = (errno.EIO,)
IN_THE_WAY = (errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG)
TEMPORARY = ".tmp"


class ReadOnlyError(DiskError):
    """A folder that may be read and not written."""


@contextmanager
def atomic_path(path: Path, *, durable: bool = True, permit: Callable[[], None] = lambda: None) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success sync it and rename it to ``path``, else remove it.

    A reader sees the old file or the new one, never a part, even after SIGKILL or a power cut. The temporary file has
    a random name, is made by this call alone and is never a link. ``durable``: whether it must be on the disk before
    this returns; of what is sealed and can be made anew, a power cut may take a part. ``permit``: called when nothing
    is left to do but the rename; if it raises, ``path`` stays what it was. Raises UserError if the folder cannot be
    written or ``path`` is a device or a pipe, and whatever else the body or ``permit`` raises.
    """
    with writing(path.parent):
        if is_stream(path):
            raise UserError(f"{path} is a device or a pipe: name a file, which appears when it is whole")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _made_anew(path)
        try:
            yield temporary
            if durable:
                with open(temporary, "rb") as handle:
                    os.fsync(handle.fileno())
            permit()
            os.replace(temporary, path)
            if durable:
                sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def is_stream(path: Path) -> bool:
    """Whether a device, a pipe or what a process has open (/dev/stdout) is there: a rename would put a file over it."""
    if path.is_symlink() and path.readlink().is_relative_to("/proc"):
        return True
    return path.exists() and not path.is_file() and not path.is_dir()


def _made_anew(path: Path) -> Path:
    """An empty file beside ``path`` that was not there before, readable by whom the umask allows."""
    temporary = path.with_name(f".{path.name[:120]}.{secrets.token_hex(8)}{TEMPORARY}")
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666))
    return temporary


def is_temporary(path: Path) -> bool:
    """Whether a file is one that ``atomic_path`` renames when it is whole: left behind if nobody is writing it."""
    return path.name.startswith(".") and path.name.endswith(TEMPORARY)


def sync_folder(folder: Path) -> None:
    """Make a rename inside ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """What fails in the body because ``folder`` cannot be written is a UserError; all else is left as it is."""
    try:
        yield
    except OSError as error:
        if not _of_writing(error, folder):
            raise
        raise disk_error(error, folder) from error


def _of_writing(error: OSError, folder: Path) -> bool:
    """Whether an error says that a folder cannot be written, and not that something was not found or not read.

    Nothing is found in a folder that somebody has removed or that cannot be made, nor can a file be made in /proc.
    """
    named = os.path.abspath(error.filename) if isinstance(error.filename, str | os.PathLike) and error.filename else ""
    folder = Path(os.path.abspath(folder))  # tempfile names absolute paths where it was given a relative one
    inside = bool(named) and (folder.is_relative_to(named) or Path(named).is_relative_to(folder))
    if error.errno in (*FULL, *BROKEN, errno.EROFS):
        return inside or not named
    gone = error.errno == errno.ENOENT and (not folder.exists() or is_temporary(Path(named)))
    return inside and (gone or error.errno in (*FORBIDDEN, *IN_THE_WAY))


def disk_error(error: OSError, folder: Path) -> DiskError:
    """The UserError for a failed write, and what would help: space, permission, or another folder."""
    said = f"cannot write to {folder}: {error.strerror or error}"
    if error.errno in FULL:
        return DiskError(f"{said}; free some space or choose another folder")
    if error.errno in FORBIDDEN:
        return ReadOnlyError(f"{said}; choose a folder that you may write to")
    return DiskError(f"{said}; choose another folder")
