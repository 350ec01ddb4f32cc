"""Whether a file is still what it was: seen in whatever way it was changed, and read no oftener than needed."""

import os
from pathlib import Path

import pytest

from cxrbench.plugins import stamps
from cxrbench.plugins.stamps import ABSENT, holds, stamp


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "source.py"
    path.write_text("one = 1")
    return path


@pytest.mark.parametrize("settled", [0, 10**18])
def test_another_content_of_the_same_size_and_time_is_another_file(
    settled: int, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stamps, "SETTLED", settled)
    before, seen = stamp(file), file.stat()
    assert holds(before)
    file.write_text("one = 2")
    os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert not holds(before)
    file.unlink()
    assert not holds(before)
    assert stamp(file).size == stamp(Path("\0")).size == ABSENT


@pytest.mark.parametrize(("settled", "reads"), [(0, 1), (10**18, 3)])
def test_a_file_that_stays_as_it_is_is_read_once_unless_it_is_new(
    settled: int, reads: int, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new one may be written to again within the same tick of the file system's clock."""
    monkeypatch.setattr(stamps, "SETTLED", settled)
    read, digest = list[int](), stamps.sampled_digest

    def noted(size: int, *args: object, **more: object) -> str:
        read.append(size)
        return digest(size, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(stamps, "sampled_digest", noted)
    before = stamp(file)
    assert holds(before)
    assert holds(before)
    assert len(read) == reads
