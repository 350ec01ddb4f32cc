"""One at a time: whoever merges into a results folder, or renames in it, reads all of it before anything is written."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cxrbench.errors import UserError
from cxrbench.files.generations import Holder
from cxrbench.files.leases import Leases
from cxrbench.files.turns import at_once


@contextmanager
def changing(root: Path, what: str) -> Iterator[None]:
    """Be the only process that merges into ``root`` or renames in it. ``what``: the work, for the others.

    Raises UserError if another one is at it, DiskError where nothing can be written.
    """
    with Leases() as leases:
        found = at_once(leases, root / "leases" / "exchange", what)
        if isinstance(found, Holder):
            raise UserError(f"{root}: {found} is {found.what or 'changing it'}: try again when it has ended")
        with found:
            yield
