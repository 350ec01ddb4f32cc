"""Headers that are remembered are those that a reader of every file finds, whatever was done to the files."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxrbench.engine.headers import store as store_module
from cxrbench.engine.headers.header import CellHeader, ReadHeader, header_at
from cxrbench.engine.headers.store import StoreHeaders
from cxrbench.engine.results import Results
from cxrbench.errors import UserError
from cxrbench.files.seal import DamagedError
from cxrbench.plugins.fixed_images import FixedFeatures
from cxrbench.predictions import Predictions
from cxrbench.task import Cell

FIXED = {name: FixedFeatures(np.full((2, 3), k, np.float32)) for k, name in enumerate(("a", "b"))}
CELLS = [
    Cell(encoder, dataset, "knn", fraction, 0, {"weights": encoder, "dataset": dataset}, FIXED[encoder])
    for encoder in ("a", "b")
    for dataset in ("one", "two")
    for fraction in (0.5, 1.0)
]


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Results:
    """A store of all cells, of files that may be remembered however few and young they are."""
    monkeypatch.setattr(store_module, "WORTH", 1)
    monkeypatch.setattr(store_module, "SETTLED", 0)
    results = Results(tmp_path / "results")
    for cell in CELLS:
        save(results, cell)
    return results


def save(results: Results, cell: Cell, note: str = "") -> None:
    rows = {"image_id": ["i"], "patient_id": ["p"], "split": ["test"], "score:x": [0.5], "target:x": [1.0]}
    one = Predictions(
        rows=pd.DataFrame(rows), labels=("x",), kind="multilabel", groups={"macro": ("x",)}, synthetic=False,
        cell=cell.facts(), encoder={"fingerprint": cell.encoder}, dataset={"name": cell.dataset}, notes=(note,),
        made={"seconds": 1.5, "versions": {"torch": "2"}},
    )  # fmt: skip
    results.save(cell, one)


def read(results: Results, tmp_path: Path) -> ReadHeader:
    """What a process reads that begins now; what it read is kept."""
    headers = results.headers(tmp_path / "cache")
    for cell in CELLS:
        _found(headers, results.path(cell))
    headers.keep()
    return headers


def _found(headers: ReadHeader, path: Path) -> CellHeader | str | None:
    try:
        return headers(path)
    except UserError as error:
        return str(error)


def test_what_is_remembered_is_what_the_files_say_and_no_file_is_opened(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results.save_not_applicable(CELLS[0], "it has no maps", synthetic=True)
    read(results, tmp_path)
    said = [header_at(results.path(cell)) for cell in CELLS]
    monkeypatch.setattr(store_module, "header_in", lambda file: pytest.fail(f"{file} was read again"))
    headers = results.headers(tmp_path / "cache")
    assert [headers(results.path(cell)) for cell in CELLS] == said
    assert said[0] is not None
    assert said[0].reason == "it has no maps"
    assert None not in said


def _replaced(results: Results, cell: Cell, tmp_path: Path) -> None:
    del tmp_path
    save(results, cell, "another")


def _refused(results: Results, cell: Cell, tmp_path: Path) -> None:
    del tmp_path
    results.save_not_applicable(cell, "it has no maps", synthetic=False)


def _deleted(results: Results, cell: Cell, tmp_path: Path) -> None:
    del tmp_path
    results.path(cell).unlink(missing_ok=True)


def _flipped(results: Results, cell: Cell, tmp_path: Path) -> None:
    """A bit in place, and the time of the file put back."""
    del tmp_path
    path = results.path(cell)
    if path.exists():
        before, content = path.stat(), bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
        time.sleep(0.02)  # a clock of the file system ticks every few ms
        path.write_bytes(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _index_damaged(results: Results, cell: Cell, tmp_path: Path) -> None:
    del results, cell
    (place,) = (tmp_path / "cache" / store_module.KEPT).iterdir()
    content = bytearray(place.read_bytes())
    content[len(content) // 3] ^= 4
    place.write_bytes(content)


def _index_gone(results: Results, cell: Cell, tmp_path: Path) -> None:
    del results, cell
    (place,) = (tmp_path / "cache" / store_module.KEPT).iterdir()
    place.unlink()


CHANGES: tuple[Callable[[Results, Cell, Path], None], ...] = (
    _replaced, _refused, _deleted, _flipped, _index_damaged, _index_gone,
)  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_done_to_the_files_is_noticed(results: Results, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    read(results, tmp_path)
    for change in rng.sample(CHANGES, len(CHANGES)):
        change(results, rng.choice(CELLS), tmp_path)
        headers = read(results, tmp_path)
        for cell in CELLS:
            assert _found(headers, results.path(cell)) == _found(header_at, results.path(cell)), change
        _replaced(results, CELLS[0], tmp_path)  # so that something is learnt and the list written again
        read(results, tmp_path)


def test_a_file_that_is_younger_than_the_clock_can_tell_is_not_remembered(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "SETTLED", 10**12)
    read(results, tmp_path)
    assert not (tmp_path / "cache").exists()


def test_cells_of_other_tasks_come_from_memory_and_a_damaged_one_stops_only_its_own(
    results: Results, tmp_path: Path
) -> None:
    read(results, tmp_path)
    _flipped(results, CELLS[-1], tmp_path)  # of data set two
    whole = Results(results.root).load_predictions(["one"])
    known = results.load_predictions(["one"], results.headers(tmp_path / "cache"))
    assert [(p.cell, p.labels, p.groups, p.notes, p.made, p.file, len(p.rows)) for p in known] == [
        (p.cell, p.labels, p.groups, p.notes, p.made, p.file, len(p.rows)) for p in whole
    ]
    assert sorted(len(p.rows) for p in known) == [0] * 4 + [1] * 4
    with pytest.raises(DamagedError):
        results.load_predictions(["two"], results.headers(tmp_path / "cache"))


def test_two_stores_of_one_cache_do_not_know_of_each_other(results: Results, tmp_path: Path) -> None:
    read(results, tmp_path)
    other = Results(tmp_path / "other")
    assert StoreHeaders(other.root / "cells", tmp_path / "cache")(other.path(CELLS[0])) is None
