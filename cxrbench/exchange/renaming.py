"""A renaming that has begun: what it was to do, kept until all of it is done, so that one that was ended can go on."""

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cxrbench.errors import UserError
from cxrbench.exchange.store_files import RENAMING
from cxrbench.files.atomic import writing
from cxrbench.files.records import read_record, write_record
from cxrbench.files.seal import DamagedError


@dataclass(frozen=True)
class Renaming:
    """An encoder or a data set (``what``) that gets another name. ``prints``: by the first digits of a data set's
    fingerprint the one that it has under the new name, for a manifest that has been renamed no longer tells.
    """

    what: str
    old: str
    new: str
    prints: Mapping[str, str] = field(default_factory=dict)

    def begin(self, root: Path) -> None:
        """Write down what is to be done, before anything is. Raises DiskError."""
        write_record(root / RENAMING, asdict(self))

    def end(self, root: Path) -> None:
        """All is done. Raises DiskError."""
        with writing(root):
            (root / RENAMING).unlink()


def command(what: str, old: str, new: str) -> str:
    """The command that goes on with a renaming."""
    return f"cxrbench results rename {shlex.quote(old)} {shlex.quote(new)} --{what}"


def unfinished(root: Path) -> Renaming | None:
    """The renaming of a results folder that was ended before all was done. Raises DamagedError."""
    path = root / RENAMING
    if not path.exists():
        return None
    try:
        return Renaming(**read_record(path))
    except TypeError as error:
        raise DamagedError(path, "another version of cxrbench wrote it") from error


def refuse_another(begun: Renaming, root: Path, what: str | None, old: str, new: str) -> None:
    """Raise UserError if a renaming other than the one that has begun is asked for."""
    if (begun.old, begun.new) != (old, new) or what not in (None, begun.what):
        raise UserError(
            f"{root} is half renamed, from {begun.old} to {begun.new}: go on with that first: "
            f"{command(begun.what, begun.old, begun.new)}"
        )
