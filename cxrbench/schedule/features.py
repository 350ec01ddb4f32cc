"""Features that cells wait for: whether they are there, and whether somebody makes them."""

from pathlib import Path

from cxrbench.features.entries import META
from cxrbench.schedule.graph import Part


def is_made(part: Part, cache: Path) -> bool:
    """Whether the entry of a part is finished: one look, not whether it is as it was written."""
    return (_folder(part, cache) / META).exists()


def lease_of(part: Part, cache: Path) -> Path:
    """The lease of whoever extracts them."""
    return _folder(part, cache).with_suffix(".lock")


def _folder(part: Part, cache: Path) -> Path:
    return cache / "features" / part.key[:2] / part.key
