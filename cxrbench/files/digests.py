"""Digests of files: of every byte, or of a sample where a big file would take too long."""

import hashlib
from collections.abc import Callable
from pathlib import Path


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sampled_digest(size: int, read: Callable[[int, int], bytes], *, blocks: int, block: int) -> str:
    """Hex digest of ``size`` and of ``blocks`` blocks of ``block`` bytes, the first, the last and evenly between.

    ``read(offset, count)`` gives bytes. What is shorter than a block is read whole.
    """
    digest = hashlib.blake2b(str(size).encode(), digest_size=12)
    last = max(0, size - block)
    for offset in sorted({last * number // (blocks - 1) for number in range(blocks)}) if size else ():
        digest.update(read(offset, min(block, size - offset)))
    return digest.hexdigest()
