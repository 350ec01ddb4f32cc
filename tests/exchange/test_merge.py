"""Two people's stores with an overlap, a conflict and a damaged cell, in one."""

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cxrbench import api
from cxrbench.engine.results import Results
from cxrbench.errors import UserError
from cxrbench.exchange.archive import FACTS, FORMAT
from cxrbench.files.records import read_record
from cxrbench.files.seal import damage, seal_zip
from cxrbench.predictions import Predictions
from support.command import cxrbench
from support.two_people import Hospital, flip

Cells = Callable[[Path], list[Path]]
PIXELS = Path("cells/clinic/classification/pixels")
SEEDS = [PIXELS / f"fraction-0.5-seed-{seed}.parquet" for seed in (0, 1)]


def changed(path: Path, **facts: object) -> Predictions:
    """A cell with other facts, saved in its place."""
    one = replace(Predictions.load(path), file=None, **facts)  # type: ignore[arg-type]
    one.save(path)
    return one


@pytest.fixture
def anna(hospital: Hospital) -> Path:
    return hospital.results


@pytest.fixture
def ben(anna: Path, tmp_path: Path) -> Path:
    """Anna's store, of which one encoder is missing, computed at another time."""
    root = tmp_path / "ben"
    shutil.copytree(anna, root)
    for folder in root.glob("cells/*/*/*"):
        if "Mine" in folder.name:
            shutil.rmtree(folder)
    for path in root.glob("cells/clinic/*/pixels/*.parquet"):
        made = Predictions.load(path).made
        changed(path, made={**made, "date": "2099-01-01T00:00:00+00:00", "seconds": 1.0})
    return root


def other_scores(path: Path) -> None:
    rows = Predictions.load(path).rows
    changed(path, rows=rows.assign(**{"score:bright": rows["score:bright"] + 1e-9}))


def test_what_two_have_is_there_once_and_what_one_has_too(anna: Path, ben: Path, tmp_path: Path, cells: Cells) -> None:
    """In either order the same cells; the bits are those of who was first."""
    for name, order in (("ab", [anna, ben]), ("ba", [ben, anna])):
        found = api.merge_results(order, tmp_path / name)
        assert found.in_peace
        assert not found.conflicts
        assert cells(tmp_path / name) == cells(anna)
        assert (tmp_path / name / SEEDS[0]).read_bytes() == (order[0] / SEEDS[0]).read_bytes()
        kinds = {path.relative_to(tmp_path / name).parts[0] for path in (tmp_path / name).rglob("*.*")}
        assert {"cells", "manifests", "encoders", "requests"} <= kinds
    board = [api.leaderboard(root, replicates=200, baseline="pixels").to_csv() for root in (anna, tmp_path / "ab")]
    assert board[0] == board[1]


def test_a_second_merge_changes_nothing(anna: Path, ben: Path, tmp_path: Path) -> None:
    into = tmp_path / "into"
    api.merge_results([anna, ben], into)
    before = {path: path.read_bytes() for path in into.rglob("*") if path.is_file()}
    assert not sum(api.merge_results([ben, anna], into).added.values())
    assert {path: path.read_bytes() for path in into.rglob("*") if path.is_file()} == before


def test_conflicts_are_named_nothing_is_overwritten_and_prefer_decides(
    anna: Path, ben: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other bits of one identity, and another identity: a line each, exit code 1."""
    other_scores(ben / SEEDS[0])
    one = Predictions.load(ben / SEEDS[1])
    parts = {**one.cell["parts"], "weights": "0" * 64}
    changed(ben / SEEDS[1], cell={**one.cell, "identity": "1" * 64, "parts": parts})
    words = ("results", "merge", str(anna), str(ben))
    code, _, err = cxrbench(monkeypatch, capsys, *words, "--into", str(tmp_path / "into"))
    lines = [line for line in err.splitlines() if line.startswith("conflict: ")]
    assert code == 1
    assert len(lines) == 2
    assert "pixels on clinic:classification, fraction 0.5 seed 0" in lines[0]
    assert "other bits in 1 columns (by up to 1e-09)" in lines[0]
    assert "another weights" in lines[1]
    assert str(ben) in lines[0]
    for seed in SEEDS:
        assert (tmp_path / "into" / seed).read_bytes() == (anna / seed).read_bytes()
    for prefer, kept in (("newest", ben), ("first", anna)):
        code, _, err = cxrbench(monkeypatch, capsys, *words, "--into", str(tmp_path / prefer), "--prefer", prefer)
        assert (code, err.count("conflict: ")) == (0, 2)
        assert (tmp_path / prefer / SEEDS[0]).read_bytes() == (kept / SEEDS[0]).read_bytes()


def test_conflicts_call_encoders_by_their_names(hospital: Hospital, ben: Path, tmp_path: Path) -> None:
    """Not by the folder, which has digits in place of what file systems do not take."""
    shutil.copytree(hospital.results, tmp_path / "other")
    (path,) = (tmp_path / "other").glob("cells/clinic/classification/*Mine*/fraction-0.5-seed-0.parquet")
    other_scores(path)
    (conflict,) = api.merge_results([hospital.results, tmp_path / "other"], tmp_path / "into").conflicts
    assert conflict.what == f"{hospital.mine} on clinic:classification, fraction 0.5 seed 0"


def test_everything_is_told_as_json_too(
    anna: Path, ben: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*words: str | Path) -> dict[str, Any]:
        return json.loads(cxrbench(monkeypatch, capsys, "results", *map(str, words), "--json")[1])

    flip(ben / SEEDS[0])
    merged = told("merge", anna, ben, "--into", tmp_path / "into")
    assert merged["added"]["cells"] == len(list(anna.glob("cells/*/*/*/*.parquet")))
    assert merged["same"]["cells"] > 0
    assert len(merged["damaged"]) == 1
    assert told("check", tmp_path / "into")["counts"]["cells"] == merged["added"]["cells"]
    packed = told("pack", "--results", anna, "--salt", tmp_path / "salt", "-o", tmp_path / "a.cxrpack")
    assert packed["counts"]["cells"] == merged["added"]["cells"]
    assert told("check", tmp_path / "a.cxrpack")["counts"]["cells"] == merged["added"]["cells"]


def test_a_damaged_cell_is_named_and_left_out_and_a_whole_one_takes_its_place(
    anna: Path, ben: Path, tmp_path: Path
) -> None:
    flip(anna / SEEDS[0])
    alone = api.merge_results([anna], tmp_path / "alone")
    assert not alone.in_peace
    assert any("seed 0" in line and "damaged, left out" in line for line in alone.damaged)
    assert not (tmp_path / "alone" / SEEDS[0]).exists()
    both = api.merge_results([anna, ben], tmp_path / "both")
    assert (tmp_path / "both" / SEEDS[0]).read_bytes() == (ben / SEEDS[0]).read_bytes()
    assert len(both.damaged) == 1
    into_it = api.merge_results([ben], anna)
    assert any(line.startswith("damaged, replaced") for line in into_it.damaged)
    assert damage(anna / SEEDS[0]) is None


def test_predictions_and_why_there_are_none_have_one_place(anna: Path, ben: Path, tmp_path: Path) -> None:
    store = Results(ben)
    (reason,) = [one for one in store.load_not_applicable() if one.cell["encoder"] == "pixels"]
    path = next(ben.glob("cells/clinic/zero-shot/pixels/*.json"))
    there = Predictions.load(anna / SEEDS[0])
    facts = {**there.cell, **{name: reason.cell[name] for name in ("protocol", "fraction", "seed", "identity")}}
    path.unlink()
    replace(there, cell=facts, file=None).save(path.with_suffix(".parquet"))
    (conflict,) = api.merge_results([anna, ben], tmp_path / "into").conflicts
    assert "could not be asked" in conflict.why
    api.merge_results([anna, ben], tmp_path / "newest", prefer="newest")
    found = {file.suffix for file in (tmp_path / "newest" / path.relative_to(ben).parent).iterdir()}
    assert found == {".parquet"}


def test_what_an_encoder_costs_is_merged_and_speed_is_no_conflict(anna: Path, ben: Path, tmp_path: Path) -> None:
    (path,) = ben.glob("encoders/pixels-*.json")
    facts = read_record(path)
    fingerprint = path.stem.rpartition("-")[2]
    Results(ben).save_efficiency("pixels", fingerprint, {**facts, "images_per_second": 1.0})
    assert api.merge_results([anna, ben], tmp_path / "into").in_peace
    Results(ben).save_efficiency("pixels", fingerprint, {**facts, "width": 1})
    (conflict,) = api.merge_results([anna, ben], tmp_path / "other").conflicts
    assert conflict.why == "another width"


def test_packs_with_one_salt_are_paired_and_with_two_are_told_apart(anna: Path, ben: Path, tmp_path: Path) -> None:
    """Each has one encoder that the other has not: with one salt both stand in one column, on the same images."""
    shutil.rmtree(anna / PIXELS)
    packs = [tmp_path / "a.cxrpack", tmp_path / "b.cxrpack", tmp_path / "c.cxrpack"]
    for root, out, salt in zip((anna, ben, ben), packs, ("s", "s", "t"), strict=True):
        api.pack_results(root, out, salt=tmp_path / salt)
    assert api.merge_results(packs[:2], tmp_path / "one").remarks == ()
    board: Any = api.leaderboard(tmp_path / "one", tasks="clinic:classification", replicates=200).to_pandas()
    assert board["encoder"].nunique() == 2
    told = api.merge_results([packs[0], packs[2]], tmp_path / "two").remarks
    assert any("packs with 2 salts" in line for line in told)
    assert any("only those of one are paired" in line for line in told)
    told = api.merge_results([anna, packs[1]], tmp_path / "three").remarks
    assert any("packed and not packed" in line for line in told)
    assert {verdict.condition for verdict in api.verify(tmp_path / "one")} == {"whole"}


def test_a_store_is_not_merged_into_itself_and_nothing_is_no_store(anna: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="into itself"):
        api.merge_results([anna], anna)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no results"):
        api.merge_results([tmp_path / "empty"], tmp_path / "into")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(UserError, match="no exchange file"):
        api.merge_results([tmp_path / "text"], tmp_path / "into")
    with pytest.raises(UserError, match="no results folder and no exchange file"):
        api.merge_results([tmp_path / "nowhere"], tmp_path / "into")


def other_facts(pack: Path, out: Path, facts: dict[str, Any]) -> None:
    """A sealed pack that says this of itself."""
    with zipfile.ZipFile(pack) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, json.dumps(facts) if name == FACTS else old.read(name))
    seal_zip(out)


def test_what_is_no_pack_of_this_version_is_refused_before_anything_is_merged(anna: Path, tmp_path: Path) -> None:
    """A spreadsheet is a zip archive, too."""
    with zipfile.ZipFile(tmp_path / "table.xlsx", "w") as archive:
        archive.writestr("xl/workbook.xml", "<a/>")
    api.pack_results(anna, tmp_path / "a.cxrpack", salt=tmp_path / "salt")
    whole = {"format": FORMAT, "content": "cells", "version": "0.1", "salt": "0" * 16}
    others = [whole | {"format": 2}, whole | {"salt": 3}, {"format": FORMAT, "content": "cells"}]
    for number, facts in enumerate(others):
        other_facts(tmp_path / "a.cxrpack", tmp_path / f"{number}.cxrpack", facts)
        with pytest.raises(UserError, match="by another version of cxrbench: ask for it again"):
            api.merge_results([tmp_path / f"{number}.cxrpack"], tmp_path / "into")
    for look in (lambda path: api.merge_results([path], tmp_path / "into"), api.check_results):
        with pytest.raises(UserError, match=r"table.xlsx is no exchange file"):
            look(tmp_path / "table.xlsx")
    assert not (tmp_path / "into").exists()


def test_a_folder_without_results_is_refused_and_logs_of_workers_are_ours(anna: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.png").write_bytes(b"")
    with pytest.raises(UserError, match="images holds no results: give a results folder"):
        api.check_results(tmp_path / "images")
    for name in ("slurm/7_0_log.out", "ray/ray-1.log", "failures/f.json"):
        (anna / name).parent.mkdir()
        (anna / name).write_text("")
    assert api.check_results(anna).foreign == ()
    (anna / "notes.txt").write_text("")
    assert api.check_results(anna).foreign == ("notes.txt",)


def test_a_damaged_record_of_a_pack_is_written_anew_and_stops_no_merge(anna: Path, ben: Path, tmp_path: Path) -> None:
    api.pack_results(anna, tmp_path / "a.cxrpack", salt=tmp_path / "salt")
    into = tmp_path / "into"
    api.merge_results([tmp_path / "a.cxrpack"], into)
    (record,) = (into / "packs").glob("*.json")
    whole = record.read_bytes()
    record.write_bytes(whole[:40])
    assert api.merge_results([ben], into).added
    assert api.merge_results([tmp_path / "a.cxrpack"], into).in_peace
    assert record.read_bytes() == whole
