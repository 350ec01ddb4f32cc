"""A listing is what the folder holds, asked for once a second."""

from pathlib import Path

from cxrbench.schedule.listing import FRESH, FolderNames


def test_a_file_is_there_once_the_listing_is_no_longer_fresh(tmp_path: Path) -> None:
    now = [0.0]
    listing = FolderNames(lambda: now[0])
    one, other = tmp_path / "cells" / "a", tmp_path / "b"
    assert not listing.has(one)  # nor is its folder
    one.parent.mkdir()
    one.touch()
    other.touch()
    assert not listing.has(one)
    now[0] += FRESH
    assert listing.has(one)
    assert listing.has(other)
    assert not listing.has(tmp_path / "c")
    one.unlink()
    assert not listing.has(one)  # another folder was asked for meanwhile
