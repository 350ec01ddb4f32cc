"""What is installed is read once, and again as soon as a package comes or goes."""

import shutil
from importlib.metadata import entry_points as read
from pathlib import Path

import pytest

from cxrbench.plugins import entry_points


def install(site: Path, name: str) -> Path:
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{entry_points.LOGGERS}]\n{name} = {name}:Logger\n")
    return info


def test_packages_are_read_again_when_one_comes_or_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    monkeypatch.setattr(entry_points, "entry_points", lambda group: reads.append(group) or read(group=group))
    install(tmp_path / "site", "first")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    for _ in range(3):
        assert "first" in entry_points.found(entry_points.LOGGERS)
        assert "imagenet" in entry_points.found(entry_points.ENCODERS)
    assert sorted(reads) == [entry_points.ENCODERS, entry_points.LOGGERS]
    second = install(tmp_path / "site", "second")
    assert {"first", "second"} <= set(entry_points.found(entry_points.LOGGERS))
    shutil.rmtree(second)
    assert "second" not in entry_points.found(entry_points.LOGGERS)
    assert len(reads) == 4
