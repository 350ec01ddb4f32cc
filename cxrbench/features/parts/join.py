"""Joining parts: the rows of an entry are those of its finished parts, and where there is none they are extracted."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from cxrbench.errors import BadImageError, UserError
from cxrbench.features.entries import JournalRows, damage_of, intact_rows
from cxrbench.features.parts.places import made_parts, part_place, parts_folder
from cxrbench.features.pooled_rows import Batch, PooledRows
from cxrbench.files.leases import Lease, Leases
from cxrbench.progress import Progress


class Joining:
    """What makes an entry of pooled features of its parts: the rows that one worker would make, to the bit.

    Parts are entered as batches into the journal of the entry, so joining, killed at any moment, goes on where it
    stopped. A part that is damaged, was made with another batch size or by another output is not used.
    """

    def __init__(self, entry: Path, source: PooledRows, progress: Progress) -> None:
        self._entry, self._source, self._progress = entry, source, progress
        self._batch_size = source.options.batch_size
        self._seconds, self._untimed = 0.0, 0

    def produce(self, start: int) -> Iterator[Batch]:
        """The rows from ``start`` on, a multiple of the batch size. Raises what extracting raises."""
        row, end = start, len(self._source.manifest)
        for rows in made_parts(self._entry, self._batch_size, self._source.fixed):
            aligned = not (rows.start % self._batch_size or (rows.stop % self._batch_size and rows.stop != end))
            if not aligned or not row < rows.stop <= end:
                continue
            if rows.start > row:
                yield from self._source.extract(row, rows.start)
                row = rows.start
            part = self._read(rows)
            if part is not None:
                yield from self._batches(part, row - rows.start)
                row = rows.stop
        if row < end:
            yield from self._source.extract(row, end)

    def speed(self, rows: int, seconds: float) -> float:
        """Images per second of one worker: ``rows`` took ``seconds`` here, and those of parts what they took there."""
        timed = rows - self._untimed
        return timed / (seconds + self._seconds) if timed else float("nan")

    def _read(self, rows: range) -> JournalRows | None:
        """A part, or None if it is not as it was written."""
        place = part_place(self._entry, rows, self._batch_size)
        if (part := intact_rows(place)) is None and place.folder.exists():
            self._progress.note(f"{damage_of(place)}: it is made again")
        return part

    def _batches(self, part: JournalRows, first: int) -> Iterator[Batch]:
        """The rows of a part from ``first`` on, with their bad images: those of the rows of NaN, in order."""
        seen = int(np.isnan(part.values[:first, 0]).sum())
        for begin in range(first, len(part.values), self._batch_size):
            values = np.array(part.values[begin : begin + self._batch_size])
            bad = part.bad[seen : seen + int(np.isnan(values[:, 0]).sum())]
            seen += len(bad)
            if bad and not self._source.skip_bad:
                raise BadImageError(*bad[0])
            if part.images_per_second > 0:
                self._seconds += len(values) / part.images_per_second
            else:
                self._untimed += len(values)
            yield values, bad


def remove_parts(entry: Path) -> None:
    """Delete the parts of an entry that is finished, but for those that somebody is making. Where it cannot: nothing.

    Whoever makes one yet removes it in the end.
    """
    folder = parts_folder(entry)
    if not folder.exists():
        return
    with suppress(OSError, UserError), Leases() as leases:
        for part in {path.with_suffix("") for path in folder.iterdir() if path.suffix in ("", ".partial")}:
            lease = leases.acquire(part.with_suffix(".lock"), f"removing {part.name}")
            if isinstance(lease, Lease):
                with lease:
                    for path in (part, part.with_suffix(".partial")):
                        shutil.rmtree(path, ignore_errors=True)
        folder.rmdir()
