"""Sufficient statistics give the board of the cells, and hold no row of anybody."""

import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrbench import api
from cxrbench.errors import UserError
from cxrbench.exchange.encoder_names import without_folders
from cxrbench.leaderboard.columns.aggregated import draws
from cxrbench.predictions import Predictions
from support.command import cxrbench
from support.two_people import Hospital, everything_in, secrets

EXACT = ("value", "lower", "upper", "n", "p", "p_holm", "gain", "gain_lower", "gain_upper", "se_patients", "se_seeds",
         "patients", "rarer", "sd_seeds", "p_percentile")  # fmt: skip
KEYS = ["encoder", "dataset", "protocol", "fraction", "metric", "label"]


@pytest.fixture
def pack(hospital: Hospital, tmp_path: Path) -> Path:
    out = tmp_path / "clinic.cxrpack"
    api.pack_results(hospital.results, out, aggregate=True, baseline="pixels", replicates=400, cache=tmp_path / "c")
    return out


@pytest.fixture
def into(pack: Path, tmp_path: Path) -> Path:
    assert api.merge_results([pack], tmp_path / "into").in_peace
    return tmp_path / "into"


def test_a_board_of_aggregates_is_the_board_of_the_cells(hospital: Hospital, into: Path) -> None:
    """Values, intervals, tests, letters and corrections, to the last digits: they follow from what is packed."""
    before = api.leaderboard(hospital.results, baseline="pixels", replicates=400).to_pandas()
    after: Any = api.leaderboard(into, baseline="pixels", replicates=400).to_pandas()
    mine = next(name for name in after["encoder"].unique() if name != "pixels")
    before["encoder"] = before["encoder"].replace(hospital.mine, mine)
    before = before[before["rarer"] >= 10]
    both = before.merge(after, on=KEYS, suffixes=("", "_packed"), validate="1:1")
    assert len(both) == len(before) == len(after) > 20
    for column in EXACT:
        np.testing.assert_allclose(both[column], both[f"{column}_packed"], rtol=1e-12, err_msg=column)
    assert both["tie_group"].tolist() == both["tie_group_packed"].tolist()
    remarks = api.leaderboard(into, replicates=400).board.remarks
    assert any(" @ 50%: aggregated elsewhere" in line for line in remarks)


def test_with_another_baseline_means_are_tested_and_labels_are_not(into: Path, hospital: Hospital) -> None:
    after: Any = api.leaderboard(into, replicates=400).to_pandas()
    mine = next(name for name in after["encoder"].unique() if name != "pixels")
    other: Any = api.leaderboard(into, baseline=mine, replicates=400, tasks="clinic:classification").to_pandas()
    cells = api.leaderboard(
        hospital.results, baseline=hospital.mine, replicates=400, tasks="clinic:classification"
    ).to_pandas()
    heads = [frame[(frame["encoder"] == "pixels") & (frame["label"] == "macro")] for frame in (other, cells)]
    np.testing.assert_allclose(heads[0]["gain"], heads[1]["gain"], rtol=1e-12)
    np.testing.assert_allclose(heads[0]["p_holm"], heads[1]["p_holm"], rtol=1e-12)
    assert other[other["label"] != "macro"]["gain"].isna().all()


def test_nothing_of_single_patients_stands_in_it(hospital: Hospital, pack: Path, tmp_path: Path) -> None:
    pieces = everything_in(pack.read_bytes())
    assert {one for one in secrets(hospital.table) for piece in pieces if one.encode() in piece} == set()
    with zipfile.ZipFile(pack) as archive:
        assert {name.partition("/")[0] for name in archive.namelist()} == {"pack.json", "aggregates"}
        texts = [archive.read(name) for name in archive.namelist()]
    assert max(map(len, texts)) < 100_000  # ten thousand replicates would be as many numbers for each encoder
    assert api.check_results(pack).clean


def test_labels_of_few_patients_stay_behind(hospital: Hospital, tmp_path: Path) -> None:
    """A label that nine patients of the test set have is in no number of the aggregate, nor is how many have it."""
    for path in (hospital.results / "cells").glob("*/classification/*/*.parquet"):
        one = Predictions.load(path)
        rows: Any = one.rows.sort_values("image_id", ignore_index=True)
        nine = set(rows["patient_id"][rows["split"] == "test"].unique()[:9])
        rows["target:coin"] = [float(who in nine) for who in rows["patient_id"]]
        Predictions(**{**vars(one), "rows": rows, "file": None}).save(path)
    out = tmp_path / "p"
    api.pack_results(hospital.results, out, aggregate=True, baseline="pixels", replicates=200, cache=tmp_path / "c")
    api.merge_results([out], tmp_path / "into")
    frame = api.leaderboard(tmp_path / "into", replicates=200, tasks="clinic:classification").to_pandas()
    assert set(frame["label"]) == {"macro", "bright"}
    notes = [
        note for column in api.leaderboard(tmp_path / "into", replicates=200).board.columns for note in column.notes
    ]
    assert any("fewer than 10 patients on their rarer side, so not in the aggregate: coin" in note for note in notes)
    assert not any("coin (9 patients)" in note for note in notes)


def test_draws_have_exactly_the_covariance_and_are_the_same_for_one_key() -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(4, 3))  # singular: four encoders, of which one is a mixture of the others
    points, wanted = rng.normal(size=4), root @ root.T
    drawn = draws(points, wanted, "a", 500)
    np.testing.assert_allclose(np.cov(drawn), wanted, atol=1e-9)
    np.testing.assert_allclose(drawn.mean(1), points, atol=1e-9)
    assert np.array_equal(drawn, draws(points, wanted, "a", 500))
    assert not np.array_equal(drawn, draws(points, wanted, "b", 500))


def test_aggregates_and_cells_stand_side_by_side_and_a_new_name_parts_two_sites(
    hospital: Hospital, into: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under one name the cells are shown and the aggregate is not; under another it is a column of its own."""
    api.merge_results([hospital.results], into)
    name = without_folders(hospital.mine, next(p.stem for p in into.glob("encoders/*mine*")).rpartition("-")[2])
    told = api.leaderboard(into, baseline="pixels", replicates=400).board.remarks
    assert any("it is here as cells, so its aggregate is not shown" in line for line in told)
    frame = api.leaderboard(into, baseline="pixels", replicates=400).to_pandas()
    assert name not in set(frame["encoder"])
    only = tmp_path / "only"
    api.merge_results([tmp_path / "clinic.cxrpack"], only)
    assert api.rename_in_results(only, name, hospital.mine).files == {"aggregates": 2}
    assert api.rename_in_results(only, "clinic", "elsewhere").files == {"aggregates": 2}
    api.merge_results([hospital.results], only)
    board = api.leaderboard(only, baseline="pixels", replicates=400)
    assert {one.task.dataset for one in board.board.columns} == {"clinic", "elsewhere"}
    assert len(board.board.overall) > 0
    assert {verdict.condition for verdict in api.verify(only)} == {"whole"}


def test_what_needs_rows_says_that_there_are_none(into: Path, tmp_path: Path, hospital: Hospital) -> None:
    with pytest.raises(UserError, match="aggregates and no cells"):
        api.compare("pixels", "x", results=into)
    with pytest.raises(UserError, match="aggregates and no cells"):
        api.calibration(into)
    with pytest.raises(UserError, match="leave out --salt"):
        api.pack_results(hospital.results, tmp_path / "x", aggregate=True, salt=tmp_path / "s")


def test_the_command_line_packs_aggregates(
    hospital: Hospital, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXRBENCH_CACHE", str(tmp_path / "c"))
    words = ("--results", str(hospital.results), "--aggregate", "--baseline", "pixels", "-o", str(tmp_path / "p"))
    code, out, _ = cxrbench(monkeypatch, capsys, "results", "pack", *words)
    assert (code, out.strip()) == (0, f"{tmp_path / 'p'}: 2 aggregates")
    code, out, _ = cxrbench(monkeypatch, capsys, "results", "check", str(tmp_path / "p"))
    assert code == 0
    assert "real, aggregated" in out


def test_what_came_as_an_aggregate_is_not_packed_again_and_that_is_told(
    hospital: Hospital, pack: Path, tmp_path: Path
) -> None:
    """It is of somebody else's patients."""
    api.merge_results([pack], hospital.results)
    cells = api.pack_results(hospital.results, tmp_path / "a.cxrpack", salt=tmp_path / "salt")
    again = api.pack_results(hospital.results, tmp_path / "b.cxrpack", aggregate=True, baseline="pixels", replicates=50)
    for packed in (cells, again):
        said = [line for line in packed.lines if line.startswith("left out: clinic-")]
        assert len(said) == len(list((hospital.results / "aggregates").iterdir()))
        assert said[0].endswith("which came as an aggregate: send the pack that it came in along")
    shutil.rmtree(hospital.results / "cells")
    with pytest.raises(UserError, match=r"no finished cells .*; left out: clinic-.*came as an aggregate"):
        api.pack_results(hospital.results, tmp_path / "c.cxrpack", salt=tmp_path / "salt")
