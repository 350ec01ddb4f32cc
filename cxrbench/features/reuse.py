"""Whether a cache entry is still what the encoder gives: by the features of the fixed images that lie beside it."""

import shutil
from pathlib import Path

from cxrbench.errors import UserError
from cxrbench.features.entries import META
from cxrbench.features.making import locked
from cxrbench.files.atomic import writing
from cxrbench.files.records import read_record, write_record
from cxrbench.plugins.fixed_images import FixedFeatures
from cxrbench.progress import Progress

FILE = "fixed.json"


def drop_if_changed(folder: Path, fixed: FixedFeatures | None, what: str, waiting: str, progress: Progress) -> None:
    """Delete an entry that was made by another output, finished or not, and say so; else leave it as it is.

    Afterwards the entry, or the ``.partial`` folder that will become one, holds ``fixed``. An entry that agrees is only
    read, so that a cache that cannot be written serves. ``fixed``: None if nobody has looked at the encoder, and then
    nothing is compared. ``what``: what the entry holds, for the message.
    """
    if fixed is None:
        return
    partial = folder.with_suffix(".partial")
    there = partial if not folder.exists() else folder if (folder / META).exists() else None
    if there is not None and agrees(there, fixed):
        return  # without the lease, whose generations count those who have ended while they made it
    with locked(folder, waiting, progress) as lease:
        found = [place for place in (folder, partial) if place.exists()]
        changed = {place: why for place in found if (why := _difference(place, fixed))}
        if lease.lost():  # whoever has it now looks for itself, and what it leaves is looked at again
            return
        for place in changed:
            with writing(place.parent):
                shutil.rmtree(place)
        if changed:
            progress.note(f"{what} are made again: {next(iter(changed.values()))}")
        if not folder.exists() and not (partial / FILE).exists():
            _write(partial, fixed)


def agrees(folder: Path, fixed: FixedFeatures | None) -> bool:
    """Whether an entry was made by this output, as far as one can tell."""
    return fixed is None or _difference(folder, fixed) is None


def check_unchanged(folder: Path, fixed: FixedFeatures | None, what: str, *, found: bool) -> None:
    """Raise UserError if another process has put an entry there meanwhile that was made by another output.

    ``found``: whether the entry was there; if not, it has just been made, perhaps in place of a damaged one.
    """
    if fixed is not None and not found and not (folder / FILE).exists():
        _write(folder, fixed)
    if fixed is not None and (why := _difference(folder, fixed)):
        raise UserError(
            f"{what} were replaced by another process that runs the same encoder otherwise ({why}): run again"
        )


def _write(place: Path, fixed: FixedFeatures) -> None:
    write_record(place / FILE, fixed.to_json())


def _difference(place: Path, fixed: FixedFeatures) -> str | None:
    """Why what lies there is not what the encoder gives; None if it is."""
    try:
        before = FixedFeatures.from_json(read_record(place / FILE))
    except FileNotFoundError:
        return "it is not known what its output on the fixed images was"
    except (OSError, UserError, ValueError, KeyError, TypeError):
        return "what was kept of its output on the fixed images is damaged"
    return fixed.difference(before)
