"""Entries of the caches: what is lost, cut, flipped or half renamed is made again, with the same bits, and said."""

import errno
import json
import os
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cxrbench.errors import UserError
from cxrbench.features.cache_limit import room
from cxrbench.features.entries import Bad, Place, intact_rows
from cxrbench.features.making import Making, cached_rows
from cxrbench.progress import Progress
from support.flips import unnoticed

ROWS, WIDTH = 24, 3
WHOLE = np.arange(ROWS * WIDTH, dtype=np.float32).reshape(ROWS, WIDTH)


class Told(Progress):
    """Keeps the notes, and where making the rows began."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.begun = -1

    def start(self, total: int, done: int) -> None:
        self.begun = done

    def note(self, message: str) -> None:
        self.notes.append(message)


class Killed(BaseException):
    """What ends a process at once."""


def place(folder: Path) -> Place:
    return Place(folder / "ab" / "abc", "rows.f32", np.float32, ROWS)


def rows(folder: Path, told: Progress | None = None, die_at: int = ROWS) -> NDArray[Any]:
    """The entry's rows, made four at a time."""

    def produce(start: int) -> Iterator[tuple[NDArray[np.float32], Bad]]:
        for first in range(start, ROWS, 4):
            if first == die_at:
                raise KeyboardInterrupt
            yield WHOLE[first : first + 4], ()

    return np.array(cached_rows(place(folder), Making(produce, 4, {"who": "me"}), "waiting", told or Progress()).values)


def files(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in folder.rglob("*") if path.is_file()}


def test_a_flipped_bit_of_rows_or_of_what_is_said_of_them_is_noticed(tmp_path: Path) -> None:
    rows(tmp_path)
    for name in ("rows.f32", "meta.json"):
        assert unnoticed(files(tmp_path)[name], lambda: intact_rows(place(tmp_path)) is not None, 60) == []


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rows.f32", None, "it has lost rows.f32"),
        ("meta.json", None, "it has lost meta.json"),
        ("rows.f32", b"cut", "rows.f32 has 3 bytes, not 288"),
        ("meta.json", b"{", "carries no checksum"),
        ("meta.json", b"\xff\xfe", "carries no checksum"),
        ("meta.json", b"", "it is empty"),
        ("meta.json", json.dumps({"rows": ROWS, "width": WIDTH, "sha256": "", "bad": []}).encode(), "an older version"),
    ],
)
def test_a_damaged_entry_is_made_again_and_said(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    rows(tmp_path)
    told = Told()
    files(tmp_path)[name].unlink() if content is None else files(tmp_path)[name].write_bytes(content)
    assert np.array_equal(rows(tmp_path, told), WHOLE)
    assert told.begun == 0
    (note,) = told.notes
    assert said in note
    assert rows(tmp_path, again := Told()) is not None
    assert again.begun == -1


@pytest.mark.parametrize("when", ["before the renaming", "while meta.json is written", "with the journal still there"])
def test_a_kill_at_the_last_step_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    def killed(*arguments: object, **named: object) -> None:
        raise Killed

    real, gone = os.replace, Path.unlink
    with monkeypatch.context() as patch:
        if when == "before the renaming":
            patch.setattr("cxrbench.features.making.os.replace", lambda a, b: killed() if a.is_dir() else real(a, b))
        elif when == "while meta.json is written":
            patch.setattr("cxrbench.files.records.seal", killed)
        else:
            kept = ".jsonl"
            patch.setattr(
                Path, "unlink", lambda self, **named: killed() if self.suffix == kept else gone(self, **named)
            )
        with pytest.raises(Killed):
            rows(tmp_path)
    told = Told()
    assert np.array_equal(rows(tmp_path, told), WHOLE)
    assert told.begun == (ROWS if when == "while meta.json is written" else -1)
    assert [path.name for path in place(tmp_path).folder.parent.glob("*.partial")] == []


@pytest.mark.parametrize("name", ["journal.jsonl", "rows.f32"])
def test_a_flipped_bit_in_a_journal_changes_no_row(tmp_path: Path, name: str) -> None:
    begun = []
    with pytest.raises(KeyboardInterrupt):
        rows(tmp_path / "cut", die_at=16)
    size = len(files(tmp_path / "cut")[name].read_bytes())
    for place in np.random.default_rng(0).choice(8 * size, 15, replace=False).tolist():
        again = tmp_path / str(place)
        shutil.copytree(tmp_path / "cut", again)
        content = bytearray(files(again)[name].read_bytes())
        content[place // 8] ^= 1 << place % 8
        files(again)[name].write_bytes(content)
        told = Told()
        assert np.array_equal(rows(again, told), WHOLE)
        begun.append(told.begun)
    assert max(begun) < 16  # nothing of what a damaged line stands for was trusted


def test_who_was_stopped_and_taken_over_touches_nothing_when_it_wakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxrbench.features.journal.SECONDS_BETWEEN_SYNCS", -1)
    entry, produced = place(tmp_path), []
    joined = WHOLE + np.repeat([1, 0], ROWS // 2)[:, None]  # the first half by who stands still, the rest by the other

    def produce(start: int) -> Iterator[tuple[NDArray[np.float32], Bad]]:
        for first in range(start, ROWS, 4):
            if first == 12:  # this one stands still; another takes it for dead, and finishes
                assert list(entry.folder.parent.glob("*.lock.1"))
                for lease in entry.folder.parent.glob("*.lock.1"):
                    lease.unlink()
                assert np.array_equal(rows(tmp_path), joined)
                before.update({path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()})
            produced.append(first)
            yield WHOLE[first : first + 4] + 1, ()

    before: dict[Path, bytes] = {}
    found = cached_rows(entry, Making(produce, 4, {"who": "me"}), "waiting", Progress())
    assert np.array_equal(found.values, joined)
    assert found.from_cache
    assert produced == [0, 4, 8, 12]
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("at", [8, 20])
def test_what_another_process_writes_into_the_rows_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    monkeypatch.setattr("cxrbench.features.journal.SECONDS_BETWEEN_SYNCS", -1)
    begun: list[int] = []

    def produce(start: int) -> Iterator[tuple[NDArray[np.float32], Bad]]:
        begun.append(start)
        for first in range(start, ROWS, 4):
            if first == at and len(begun) == 1:
                with open(files(tmp_path)["rows.f32"], "ab") as handle:
                    handle.write(b"stray")
            yield WHOLE[first : first + 4], ()

    found = cached_rows(place(tmp_path), Making(produce, 4, {}), "waiting", Progress())
    assert np.array_equal(found.values, WHOLE)
    assert begun == [0, at]


def test_a_disk_that_keeps_nothing_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cxrbench.features.journal.SECONDS_BETWEEN_SYNCS", -1)

    def produce(start: int) -> Iterator[tuple[NDArray[np.float32], Bad]]:
        yield WHOLE[start:], ()
        files(tmp_path)["rows.f32"].write_bytes(b"")

    with pytest.raises(UserError, match="is damaged as soon as it is written: check the disk"):
        cached_rows(place(tmp_path), Making(produce, ROWS, {}), "waiting", Progress())


def with_crc(text: bytes) -> bytes:
    return f"{zlib.crc32(text):08x} ".encode() + text + b"\n"


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\n", b"[]\n", b"{}\n", b"\n\n", b"",
        b'{"rows": 4, "width": 3, "crc": 0, "bad": [], "batch_size": 4}\n',
        with_crc(b"[]"), with_crc(b"{}"), with_crc(b"\xff"), with_crc(b'{"rows": -1}'),
    ],
)  # fmt: skip
def test_a_journal_of_another_kind_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(KeyboardInterrupt):
        rows(tmp_path, die_at=16)
    files(tmp_path)["journal.jsonl"].write_bytes(content)
    assert np.array_equal(rows(tmp_path, told := Told()), WHOLE)
    assert told.begun == 0


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file can be made, changed or deleted, as on a file system that is mounted so; root's rights do not help."""

    def refuse(path: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    system_open = os.open

    def opened(path: Any, flags: int, *arguments: Any, **named: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
            refuse(path)
        return system_open(path, flags, *arguments, **named)

    monkeypatch.setattr(os, "open", opened)
    for name in ("replace", "unlink", "remove", "rmdir", "utime", "mkdir"):
        monkeypatch.setattr(os, name, lambda path, *arguments, **named: refuse(path))


def test_a_finished_entry_is_read_where_nothing_can_be_written(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    rows(tmp_path)
    (tmp_path / "other").mkdir()
    request.getfixturevalue("read_only")
    assert np.array_equal(rows(tmp_path), WHOLE)
    with room(tmp_path, place(tmp_path).folder, 1000, 10, ()) as fits:  # even beyond the limit: it is there
        assert fits
    with pytest.raises(UserError, match=r"cannot write to .*Read-only file system; choose a folder"):
        rows(tmp_path / "other")
    with (
        pytest.raises(UserError, match=r"cannot write to .*Read-only file system"),
        room(tmp_path, tmp_path / "cd" / "cde", 1000, 10**6, ()),
    ):
        pass


def test_a_damaged_entry_where_nothing_can_be_written_is_one_line(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rows(tmp_path)
    files(tmp_path)["rows.f32"].write_bytes(b"cut")
    request.getfixturevalue("read_only")
    with pytest.raises(UserError, match=r"is damaged \(rows.f32 has 3 bytes.*cannot be made again: cannot write"):
        rows(tmp_path)
