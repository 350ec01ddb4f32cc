"""Files that are there whole or not at all; what is called a failed write, and what is not."""

import errno
import os
from pathlib import Path

import pytest

from cxrbench.errors import UserError
from cxrbench.files.atomic import ReadOnlyError, atomic_path, is_temporary, writing


def write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def test_temporary_names_are_random_and_made_by_one_call_alone(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a") as one, atomic_path(tmp_path / "a") as two:
        assert one != two
        assert str(os.getpid()) not in one.name.split(".")
        assert is_temporary(one)
        assert one.is_file()
    assert not is_temporary(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_link_that_lies_in_the_way_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "victim").write_text("mine")
    monkeypatch.setattr("secrets.token_hex", lambda n: "guessed")
    (tmp_path / ".a.guessed.tmp").symlink_to(tmp_path / "victim")
    with pytest.raises(UserError, match="File exists"):
        write(tmp_path / "a", "theirs")
    assert (tmp_path / "victim").read_text() == "mine"
    (tmp_path / "b").symlink_to(tmp_path / "victim")  # the target may be one: it is replaced
    write(tmp_path / "b", "theirs")
    assert (tmp_path / "victim").read_text() == "mine"
    assert not (tmp_path / "b").is_symlink()


def test_files_are_readable_by_whom_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "a", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "a", "old")
    with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "a") as temporary:
        temporary.write_text(str(1 / 0))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old"}


def test_what_is_not_permitted_leaves_the_old_file_though_the_new_one_is_whole(tmp_path: Path) -> None:
    write(tmp_path / "a", "old")

    def no() -> None:
        assert [path.read_text() for path in tmp_path.iterdir() if is_temporary(path)] == ["new"]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "a", permit=no) as temporary:
        temporary.write_text("new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old"}


def test_a_file_that_is_not_found_is_no_failed_write(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a") as temporary:
        temporary.write_bytes((tmp_path / "source").read_bytes())
    with pytest.raises(PermissionError), atomic_path(tmp_path / "a"):
        raise PermissionError(errno.EACCES, "Permission denied", "/elsewhere/source")


@pytest.mark.parametrize(
    ("number", "advice", "kind"),
    [
        (errno.ENOSPC, "free some space", UserError),
        (errno.EDQUOT, "free some space", UserError),
        (errno.EROFS, "choose a folder that you may write to", ReadOnlyError),
        (errno.EACCES, "choose a folder that you may write to", ReadOnlyError),
        (errno.ENOTDIR, "choose another folder", UserError),
    ],
)
def test_each_failed_write_says_what_would_help(number: int, advice: str, kind: type, tmp_path: Path) -> None:
    with pytest.raises(kind, match=f"cannot write to .*{os.strerror(number)}; .*{advice}"), writing(tmp_path):
        raise OSError(number, os.strerror(number), str(tmp_path / "a"))


def test_a_relative_folder_is_the_one_that_an_error_names_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``tempfile`` does; another folder's error is still another's."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ReadOnlyError, match="cannot write to runs/x: Permission denied"), writing(Path("runs/x")):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "runs/x/tmpa"))
    with pytest.raises(PermissionError), writing(Path("runs/x")):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "scans/1.png"))


def test_a_device_a_pipe_and_what_a_process_has_open_are_left_as_they_are(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to(os.devnull)
    (tmp_path / "stdout").symlink_to("/proc/self/fd/1")
    for name in ("pipe", "null", "stdout"):
        with pytest.raises(UserError, match=f"{name} is a device or a pipe"):
            write(tmp_path / name, "x")
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "null").is_symlink()
    assert (tmp_path / "stdout").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["null", "pipe", "stdout"]


def test_a_folder_that_takes_no_files_and_a_name_too_long_are_failed_writes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot write to /proc"):
        write(Path("/proc/a"), "x")
    with pytest.raises(UserError, match="File name too long"):
        write(tmp_path / ("n" * 300), "x")


def test_a_long_name_is_no_failed_write(tmp_path: Path) -> None:
    write(tmp_path / ("n" * 250), "x")
    assert (tmp_path / ("n" * 250)).read_text() == "x"


def test_a_folder_that_is_gone_cannot_be_written_and_a_file_that_is_gone_is_something_else(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(UserError, match=r"cannot write to .*run: No such file or directory"), writing(folder):
        (folder / "log.csv").write_text("")
    folder.mkdir()
    with pytest.raises(FileNotFoundError), writing(folder):
        (folder / "log.csv").read_text()
