"""One hospital for all tests of exchange: its run takes seconds."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import cxrbench
from support.two_people import ENCODER, Hospital, write_hospital


@pytest.fixture(scope="session")
def run_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    root = tmp_path_factory.mktemp("st-elsewhere")
    (root / "mine.py").write_text(ENCODER)
    table = write_hospital(root / "clinic")
    mine = f"{root / 'mine.py'}:Mine"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXRBENCH_CACHE", str(root / "cache"))
        patch.delenv("CXRBENCH_DATA", raising=False)
        cxrbench.run(
            ["pixels", mine],
            [f"{table}:classification", f"{table}:regression", f"{table}:zero-shot"],
            results=root / "results", fractions=[0.5], seeds=2, device="cpu",
        )  # fmt: skip
    yield Hospital(root / "results", table, mine)
    shutil.rmtree(root)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that of whoever runs the tests, which `verify` would look at, too."""
    monkeypatch.setenv("CXRBENCH_CACHE", str(tmp_path / "own-cache"))


@pytest.fixture
def hospital(run_once: Hospital, tmp_path: Path) -> Hospital:
    """A copy of its results, which a test may change."""
    shutil.copytree(run_once.results, tmp_path / "results")
    return Hospital(tmp_path / "results", run_once.table, run_once.mine)


@pytest.fixture
def cells() -> Callable[[Path], list[Path]]:
    """The cells of a store, as paths below it."""
    return lambda root: sorted(path.relative_to(root) for path in (root / "cells").rglob("*") if path.is_file())
