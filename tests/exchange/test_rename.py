"""A new name in every place that holds the old one, and identities that a later run agrees with."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cxrbench import api
from cxrbench.engine.asked.requests import find_request, save_request
from cxrbench.engine.job import prepare
from cxrbench.engine.results import Results
from cxrbench.errors import UserError
from cxrbench.progress import Progress
from support.command import cxrbench
from support.two_people import Hospital, everything_in


def said(root: Path) -> str:
    """Every name and text of a store, but for what was asked of it: paths, records, metadata."""
    found = [str(path.relative_to(root)) for path in root.rglob("*")]
    for path in root.rglob("*.*"):
        if path.parent.name == "requests":
            continue
        if path.suffix == ".parquet":
            metadata = pq.ParquetFile(path).metadata.metadata or {}
            found += [value.decode("latin1") for key, value in metadata.items() if key.count(b".") < 2]
        elif path.is_file():
            found.append(path.read_text())
    return "\n".join(found)


def test_an_encoder_keeps_its_identity_and_its_numbers_under_another_name(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = hospital.results
    before = {one.cell["identity"] for one in Results(root).load_predictions()}
    values = api.leaderboard(root, replicates=200, baseline="pixels").to_pandas()["value"]
    assert hospital.mine in said(root)
    code, out, _ = cxrbench(monkeypatch, capsys, "results", "rename", hospital.mine, "Tiles", "--results", str(root))
    assert code == 0
    assert "is called Tiles in" in out
    assert hospital.mine not in said(root)
    assert {one.cell["identity"] for one in Results(root).load_predictions()} == before
    after = api.leaderboard(root, replicates=200, baseline="pixels").to_pandas()
    assert set(after["encoder"]) == {"pixels", "Tiles"}
    assert sorted(after["value"].dropna()) == sorted(values.dropna())
    assert all(verdict.condition == "whole" for verdict in api.verify(root))
    assert Results(root).load_efficiency(Results(root).load_predictions()).keys() == {"pixels", "Tiles"}


def test_a_run_under_a_data_sets_new_name_finds_its_cells_done(
    hospital: Hospital, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The identity is that of a run of the table that is now called so."""
    monkeypatch.setenv("CXRBENCH_CACHE", str(tmp_path / "cache"))
    renamed = api.rename_in_results(hospital.results, "clinic", "ward")
    assert renamed.what == "dataset"
    assert not (hospital.results / "cells" / "clinic").exists()
    sidecar = hospital.table.with_suffix(".toml")
    text = sidecar.read_text()
    try:
        sidecar.write_text(f'name = "ward"\n{text}')
        words = ["pixels"], [f"{hospital.table}:classification"]
        job = prepare(*words, dry_run=True, progress=Progress(), results=hospital.results, fractions=[0.5], seeds=2)
    finally:
        sidecar.write_text(text)
    assert [planned.state for planned in job.plan.cells] == ["done", "done"]
    board = api.leaderboard(hospital.results, replicates=200, baseline="pixels").to_pandas()
    assert set(board["dataset"]) == {"ward"}
    assert api.by_group("sex", hospital.results, tasks="ward:classification", baseline="pixels", replicates=200)


def test_names_that_are_not_there_or_taken_are_refused_before_anything_is_written(hospital: Hospital) -> None:
    root = hospital.results
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    for old, new, match in (
        ("pixel", "x", "did you mean 'pixels'"),
        ("pixels", hospital.mine, "another encoder that is called"),
        ("pixels", " ", "is no name"),
        ("pixels", "pixels", "called so already"),
        ("pixels", "..", "no name: give one with a letter"),
        ("pixels", "a,b", "no name of an encoder"),
        ("pixels", "all", "no name of an encoder"),
        ("clinic", "a:b", "is no name of a data set"),
        ("clinic", ".", "no name: give one with a letter"),
        ("clinic", "..", "no name: give one with a letter"),
        ("clinic", ".hidden", "must do as a folder's"),
        ("clinic", "a\\b", "must do as a folder's"),
        ("clinic", "x" * 201, "must do as a folder's"),
    ):
        with pytest.raises(UserError, match=match):
            api.rename_in_results(root, old, new)
    for what, old, match in (
        ("encoder", "clinic", "clinic is the name of a data set: leave out --encoder"),
        ("dataset", "pixels", "pixels is the name of an encoder: leave out --dataset"),
        ("dataset", "pixel", "unknown dataset 'pixel'; known: clinic$"),
    ):
        with pytest.raises(UserError, match=match):
            api.rename_in_results(root, old, "x", what=what)  # type: ignore[arg-type]
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def states(root: Path) -> tuple[int, int, int, int]:
    found = api.status(root)
    return found.done, found.renamed, found.missing, len(found.blocked)


def test_a_request_stays_as_it_was_asked_and_its_renamed_cells_are_found(
    hospital: Hospital, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where a second encoder is given the first one's old name."""
    monkeypatch.setenv("CXRBENCH_CACHE", str(tmp_path / "cache"))
    root, (asked,) = hospital.results, api.requests(hospital.results)
    done, *nothing = states(root)
    assert nothing == [0, 0, 0]
    code, _, err = cxrbench(monkeypatch, capsys, "results", "rename", "pixels", "a/b", "--results", str(root))
    assert (code, len(err.splitlines()), "a request says pixels as it was asked" in err) == (0, 1, True)
    assert states(root) == (done // 2, done // 2, 0, 0)
    api.rename_in_results(root, hospital.mine, "pixels")
    api.rename_in_results(root, "clinic", "ward")
    api.rename_in_results(root, "a/b", "c")
    assert states(root) == (0, done, 0, 0)
    code, out, _ = cxrbench(monkeypatch, capsys, "status", "--results", str(root))
    assert (code, len(out.splitlines())) == (0, 1)
    assert "pixels is called c, clinic is called ward" in out
    (after,) = api.requests(root)
    assert {name: after[name] for name in asked} == asked
    save_request(root, find_request(root))  # as a run does: under the names that it says
    assert states(root) == (0, 0, done, 0)


def test_a_pack_says_of_a_request_what_its_encoders_and_data_are_called_now(
    hospital: Hospital, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that tells too much is renamed before it is packed, wherever it was asked."""
    for old, new in (("pixels", "dots"), (hospital.mine, "tiles"), ("clinic", "ward")):
        api.rename_in_results(hospital.results, old, new)
    api.pack_results(hospital.results, tmp_path / "a.cxrpack", salt=tmp_path / "salt")
    api.merge_results([tmp_path / "a.cxrpack"], tmp_path / "into")
    (one,) = api.requests(tmp_path / "into")
    assert one["encoders"] == ["dots", "tiles"]
    assert {task.partition(":")[0] for task in one["tasks"]} == {"ward"}
    pieces = everything_in((tmp_path / "a.cxrpack").read_bytes())
    assert not [piece for piece in pieces for name in (b"mine.py", b"clinic") if name in piece]
