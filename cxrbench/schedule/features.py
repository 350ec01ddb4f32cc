"""Features that cells wait for: whether they are there, whether somebody makes them, and making what nobody does."""

from collections.abc import Sequence
from functools import cache as once
from pathlib import Path

from cxrbench.engine.cached_encoder import CachedEncoder
from cxrbench.features.entries import META
from cxrbench.features.parts.make import make_part
from cxrbench.features.parts.places import entry_folder, part_lease, part_state, parts_folder
from cxrbench.files import generations
from cxrbench.files.generations import Holder
from cxrbench.files.leases import Lease, Leases
from cxrbench.schedule.failures import DEATHS
from cxrbench.schedule.graph import Part


def is_made(part: Part, cache: Path) -> bool:
    """Whether the entry that a part belongs to is finished: one look, not whether it is as it was written."""
    return (entry_folder(cache, part.key) / META).exists()


def makers(parts: Sequence[Part], cache: Path, batch_size: int, leases: Leases) -> list[tuple[str, Holder]]:
    """Who is at the parts of an entry, and which rows those are; nothing for who makes or joins all of it."""
    entry = entry_folder(cache, parts[0].key)
    found = [("", leases.holder(entry.with_suffix(".lock")))]
    if len(parts) > 1 and parts_folder(entry).exists():
        for part in parts:
            which = f", images {part.first + 1:,} to {part.end:,}"
            found.append((which, leases.holder(part_lease(entry, part.rows, batch_size))))
    return [(which, holder) for which, holder in found if holder is not None]


def is_deadly(parts: Sequence[Part], cache: Path, batch_size: int, leases: Leases) -> bool:
    """Whether workers have ended one after the other while they made an entry or one of its parts, and nobody is at it.

    Not all of its parts together: a machine that stops ends the workers of all of them once.
    """
    for lock in _locks(parts, cache, batch_size):
        found = generations.highest(lock)
        if found is not None and found.number >= DEATHS and leases.holder(lock) is None:
            return True
    return False


def forget_deaths(parts: Sequence[Part], cache: Path, batch_size: int, leases: Leases) -> None:
    """Count from none again: whoever asks for it next tries it as if nobody had. Raises DiskError."""
    for lock in _locks(parts, cache, batch_size):
        if generations.highest(lock) is not None and isinstance(lease := leases.acquire(lock, "giving it up"), Lease):
            lease.release()


def _locks(parts: Sequence[Part], cache: Path, batch_size: int) -> list[Path]:
    """The leases of whoever makes an entry, and of those who make its parts."""
    entry = entry_folder(cache, parts[0].key)
    of_parts = [part_lease(entry, part.rows, batch_size) for part in parts] if len(parts) > 1 else []
    return [entry.with_suffix(".lock"), *of_parts]


def made(parts: Sequence[Part], encoder: CachedEncoder, leases: Leases, start: float) -> bool:
    """Whether the entry of these parts, all of one entry, is there now; what nobody else makes is made before.

    ``start``: the share of the parts after which this worker begins. False while others are at it. Raises what
    extracting raises.
    """
    folder, options = encoder.context.scratch, encoder.context.options
    entry = entry_folder(folder, parts[0].key)
    if leases.holder(entry.with_suffix(".lock")) is not None:
        return False
    if len(parts) > 1:
        first, load, others = int(start * len(parts)), once(encoder.ref.load), False
        for part in (*parts[first:], *parts[:first]):
            if part_state(entry, part.rows, options.batch_size) != "missing":
                continue
            if leases.holder(part_lease(entry, part.rows, options.batch_size)) is not None:
                others = True
                continue
            make_part(
                encoder.ref.spec, load, encoder.ref.preprocess, encoder.images, folder, options, part.rows,
                skip_bad=encoder.skip_bad, progress=encoder.context.progress, fixed=encoder.ref.fixed,
            )  # fmt: skip
        if others and not is_made(parts[0], folder):
            return False
        if leases.holder(entry.with_suffix(".lock")) is not None:  # another worker joins them
            return False
    _ = encoder.features
    return True
