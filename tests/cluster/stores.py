"""Whether two results folders hold the same, and whether one is sound."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from cxrbench.predictions import Predictions


def cxrbench(
    *words: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, with one thread: exit code, stdout and stderr."""
    command = [sys.executable, "-m", "cxrbench", *map(str, words)]
    mine = {**(os.environ if env is None else env), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=mine, cwd=cwd, capture_output=True, text=True, check=False)


def cells(results: Path) -> dict[str, Predictions]:
    """All cells of a store, checked against their checksums, by where they lie in it."""
    folder = results / "cells"
    return {str(path.relative_to(folder)): Predictions.load(path) for path in sorted(folder.rglob("*.parquet"))}


def assert_same_cells(found: Path, expected: Path) -> None:
    """The same cells, each to the bit in rows and in what is said of them, but for when and how long it was made."""
    mine, theirs = cells(found), cells(expected)
    assert [*mine] == [*theirs]
    assert len(mine) > 0
    for name in mine:
        pd.testing.assert_frame_equal(mine[name].rows, theirs[name].rows, check_exact=True)
        bare = [replace(one, rows=pd.DataFrame(), made={}, file=None) for one in (mine[name], theirs[name])]
        assert bare[0].__dict__ | {"rows": 0} == bare[1].__dict__ | {"rows": 0}, name


def assert_sound(results: Path, cache: Path) -> None:
    """``cxrbench verify`` finds nothing wrong in it and its cache, and nobody holds or waits for anything."""
    done = cxrbench("verify", "--results", results, "--cache", cache)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path for path in (results / "leases").rglob("*") if path.is_file()] == []
    assert [path for path in (results / "failures").rglob("*") if path.is_file()] == []
