"""A sha256 inside the file that it is of: a file of ours says whether it is as it was written, to the bit.

The seal is one piece of text, ``cxrbench-sha256:`` and 64 hex digits, wherever a format has room for a remark: the
metadata of Parquet and safetensors, the comment of a zip archive, a field of JSON, what follows the data of ``.npy``.
The digest is of the whole file with 64 zeros in its own place, so nothing is left out, and other programs read the
file as ever.
"""

import hashlib
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cxrbench.errors import UserError

MARK = b"cxrbench-sha256:"
DIGITS = 64
BLANK = (MARK + b"0" * DIGITS).decode()
"""What a writer puts in the seal's place."""
ZIP_END, ZIP_TAIL = b"PK\x05\x06", 22  # how the last part of a zip archive begins, and its bytes


class DamagedError(UserError):
    """A file of ours that is not as it was written. ``reason``: what was found, without the path."""

    def __init__(self, path: Path, reason: str, advice: str = "delete it and run again") -> None:
        super().__init__(f"{path} is damaged ({reason}): {advice}")
        self.reason = reason


def seal(path: Path) -> None:
    """Put the digest in the place of the ``BLANK`` that the file holds. Raises ValueError unless there is exactly one.

    For files that are still being made: under ``atomic_path``, which brings them to the disk and renames them.
    """
    with open(path, "r+b") as handle, mmap.mmap(handle.fileno(), 0) as content:
        at = content.find(BLANK.encode())
        if at < 0 or content.find(MARK, at + len(MARK)) >= 0 or content.find(MARK) != at:
            raise ValueError(f"{path} has no place for a seal, or several")
        content[at + len(MARK) : at + len(BLANK)] = hashlib.sha256(content).hexdigest().encode()


def seal_zip(path: Path) -> None:
    """Seal a zip archive that has no comment, in its comment."""
    with open(path, "r+b") as handle:
        handle.seek(-ZIP_TAIL, os.SEEK_END)
        if not handle.read(ZIP_TAIL).startswith(ZIP_END):
            raise ValueError(f"{path} is no zip archive, or has a comment already")
        handle.seek(-2, os.SEEK_END)
        handle.write(len(BLANK).to_bytes(2, "little") + BLANK.encode())
    seal(path)


def damage(path: Path) -> str | None:
    """What is wrong with a sealed file, or None. Reads all of it. Raises OSError if it cannot be read."""
    with open(path, "rb") as handle:
        if not os.fstat(handle.fileno()).st_size:
            return "it is empty"
        with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _damage_in(content)


def _damage_in(content: bytes | mmap.mmap) -> str | None:
    """What is wrong with the bytes of a sealed file."""
    at = content.find(MARK)
    if at < 0:
        return "it carries no checksum: an older version wrote it, or it is cut" if len(content) else "it is empty"
    digits = slice(at + len(MARK), at + len(BLANK))
    with memoryview(content) as view, view[: digits.start] as head, view[digits.stop :] as tail:
        digest = hashlib.sha256(head)
        digest.update(b"0" * DIGITS)
        digest.update(tail)
    return None if digest.hexdigest().encode() == content[digits] else "its checksum does not fit"


def is_sealed(path: Path) -> bool:
    """Whether a file carries a seal, fitting or not; a zip archive also if its comment is as long as one."""
    with open(path, "rb") as handle:
        if not os.fstat(handle.fileno()).st_size:
            return False
        with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
            end = content[-ZIP_TAIL - len(BLANK) : -len(BLANK)]
            of_zip = end.startswith(ZIP_END) and end.endswith(len(BLANK).to_bytes(2, "little"))
            return of_zip or content.find(MARK) >= 0


def check(path: Path, advice: str = "delete it and run again") -> None:
    """Raises DamagedError unless the file is as it was sealed, FileNotFoundError if there is none, else UserError."""
    with _reading(path):
        reason = damage(path)
    if reason is not None:
        raise DamagedError(path, reason, advice)


def read_checked(path: Path, advice: str = "delete it and run again") -> bytes:
    """The bytes of a small file that is as it was sealed. Raises as ``check`` does."""
    with _reading(path):
        content = path.read_bytes()
    if (reason := _damage_in(content)) is not None:
        raise DamagedError(path, reason, advice)
    return content


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """A file that cannot be read is a UserError; FileNotFoundError stays what it is."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def check_digest(path: Path, sha256: str, size: int) -> None:
    """Raises DamagedError unless a file has so many bytes and this sha256, FileNotFoundError if there is none."""
    with open(path, "rb") as handle:
        if (found := os.fstat(handle.fileno()).st_size) != size:
            raise DamagedError(path, f"{path.name} has {found} bytes, not {size}")
        if hashlib.file_digest(handle, "sha256").hexdigest() != sha256:
            raise DamagedError(path, f"the checksum of {path.name} does not fit")
