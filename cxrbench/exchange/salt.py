"""The salt: what makes a pseudonym of an identifier, and is never given away."""

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from cxrbench.errors import UserError
from cxrbench.files.atomic import writing

FEWEST = 16  # bytes of a salt that nobody can try out
LONGEST = 1 << 16  # bytes: /dev/zero has no end
DIGITS = 32  # hex digits of a pseudonym: 128 bits, so that a billion identifiers make no two alike
FIRST_LINE = b"cxrbench salt: keep it secret, never send it along with what was packed with it\n"


@dataclass(frozen=True)
class Salt:
    """Secret bytes; whoever has them can find out which identifier a pseudonym belongs to, by trying all."""

    key: bytes = field(repr=False)

    @property
    def check(self) -> str:
        """What tells two salts apart and gives neither away: the HMAC-SHA256 of a fixed text, 16 hex digits."""
        return self._digest("check")[:16]

    def pseudonym(self, dataset: str, name: str) -> str:
        """What an identifier of an image, study or patient of a data set becomes: HMAC-SHA256, 128 bits of it as hex.

        The data set's name is part of it: the same number in two data sets cannot be told to be the same. An image
        that is its own patient stays so. Nothing ("") stays nothing.
        """
        return self._digest("identifier", dataset, name)[:DIGITS] if name else ""

    def fingerprint(self, sha256: str) -> str:
        """What the fingerprint of a data set becomes, 64 hex digits: equal where it was equal."""
        return self._digest("fingerprint", sha256)

    def _digest(self, *parts: str) -> str:
        text = b"".join(len(part.encode()).to_bytes(8, "big") + part.encode() for part in parts)
        return hmac.new(self.key, text, hashlib.sha256).hexdigest()


def read_salt(path: Path, results: Path) -> Salt:
    """The salt in a file, which is made, readable by its owner alone, where there is none.

    Two sites that are to pair their results use the same file. Raises UserError for a file inside ``results``, which
    would be copied along with them, or one too short to be secret.
    """
    if path.resolve().is_relative_to(results.resolve()):
        raise UserError(f"--salt {path} lies in the results folder, and would be shared with it: choose another place")
    if not path.exists():
        _make(path)
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST + 1)
    except OSError as error:
        raise UserError(f"cannot read the salt {path}: {error.strerror or error}; name a file of your own") from error
    if len(content) > LONGEST:
        raise UserError(f"--salt {path} holds more than {LONGEST} bytes, as no salt does: name another file")
    key = content.removeprefix(FIRST_LINE.strip()).strip()  # whatever a mail program has made of the line's end
    if len(key) < FEWEST:
        raise UserError(f"--salt {path} holds {len(key)} bytes, which can be guessed: name a file that is not there")
    return Salt(key)


def _make(path: Path) -> None:
    """A new salt of 256 random bits; whoever else is making it at the same moment may be first."""
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            return
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(FIRST_LINE + secrets.token_hex(32).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except BaseException:  # an empty file would be taken for a salt, and refused, for ever
            path.unlink(missing_ok=True)
            raise
