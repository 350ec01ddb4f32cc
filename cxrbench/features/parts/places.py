"""Where the parts of an entry lie, and which are there.

Beside the entry ``KEY`` lies ``KEY.parts`` with a folder per part, named by the batch size and its rows: rows that were
extracted with another batch size may differ in their last bits. A part is an entry like any other, with a journal
while it is made and a lease of its own (``making.py``).
"""

import re
from pathlib import Path
from typing import Literal

import numpy as np

from cxrbench.features.entries import META, Place
from cxrbench.features.reuse import agrees
from cxrbench.plugins.fixed_images import FixedFeatures

FILE = "pooled.f32"
NAME = re.compile(r"batch(\d+)-(\d+)-(\d+)")
PartState = Literal["joined", "made", "missing"]


def parts_of(rows: int, batch_size: int, target_rows: int) -> list[range]:
    """``rows`` cut into parts of about ``target_rows``, each a multiple of the batch size but for the last."""
    count = max(1, round(rows / max(1, target_rows)))
    batches = -(-rows // batch_size)
    ends = sorted({min(rows, batch_size * (batches * (i + 1) // count)) for i in range(count)} - {0})
    return [range(first, end) for first, end in zip([0, *ends], ends, strict=False)]


def entry_folder(cache: Path, key: str) -> Path:
    """The entry of pooled features of this key, finished or not."""
    return cache / "features" / key[:2] / key


def parts_folder(entry: Path) -> Path:
    """What holds the parts of an entry."""
    return entry.with_suffix(".parts")


def part_place(entry: Path, rows: range, batch_size: int) -> Place:
    """Where a part of an entry lies."""
    folder = parts_folder(entry) / f"batch{batch_size}-{rows.start:09d}-{rows.stop:09d}"
    return Place(folder, FILE, np.float32, len(rows))


def part_lease(entry: Path, rows: range, batch_size: int) -> Path:
    """The lease of whoever makes a part."""
    return part_place(entry, rows, batch_size).folder.with_suffix(".lock")


def part_state(entry: Path, rows: range, batch_size: int) -> PartState:
    """What one look at the names tells of a part: the whole entry is finished, the part is, or somebody must make it.

    Whether it is as it was written is seen when it is read; a damaged part is extracted again by whoever joins.
    """
    if (entry / META).exists():
        return "joined"
    return "made" if (part_place(entry, rows, batch_size).folder / META).exists() else "missing"


def made_parts(entry: Path, batch_size: int, fixed: FixedFeatures | None) -> list[range]:
    """The rows of all finished parts of this batch size, made by what the encoder gives now, in order."""
    found = []
    for folder in parts_folder(entry).glob(f"batch{batch_size}-*"):
        named = NAME.fullmatch(folder.name)
        if named is not None and (folder / META).exists() and agrees(folder, fixed):
            found.append(range(int(named[2]), int(named[3])))
    return sorted(found, key=lambda rows: (rows.start, -rows.stop))
