"""The limit of a cache folder, shared by processes."""

from pathlib import Path

from cxrbench.features.cache_limit import room
from cxrbench.features.making import locked
from cxrbench.progress import Progress


def test_room_counts_what_others_are_making(tmp_path: Path) -> None:
    one, two = tmp_path / "aa" / "aa1", tmp_path / "bb" / "bb1"
    with room(tmp_path, one, 60, 100, ()) as fits, locked(one, "", Progress()):
        assert fits
        with room(tmp_path, two, 60, 100, ()) as second:
            assert not second
        with room(tmp_path, two, 40, 100, ()) as second:
            assert second
    assert not list(tmp_path.rglob("*.reserved"))
    one.with_suffix(".partial").mkdir(parents=True)
    (one.with_suffix(".partial") / "maps.f16").write_bytes(bytes(60))
    with room(tmp_path, two, 60, 100, ()) as fits:  # left behind by a killed process: it goes
        assert fits
    assert not one.with_suffix(".partial").exists()
