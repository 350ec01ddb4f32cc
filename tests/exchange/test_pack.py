"""A pack holds nothing of who the patients are, and gives the numbers of what was packed."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cxrbench import api
from cxrbench.engine.results import Results
from cxrbench.errors import UserError
from cxrbench.exchange.deidentified import Deidentifier
from cxrbench.exchange.salt import Salt
from cxrbench.leaderboard.statistics.in_folds import prepared
from cxrbench.metrics.kinds import KINDS
from cxrbench.metrics.prepared import Weights
from cxrbench.predictions import Predictions
from support.command import cxrbench
from support.two_people import Hospital, everything_in, flip, secrets


@pytest.fixture
def pack(hospital: Hospital, tmp_path: Path) -> Path:
    out = tmp_path / "clinic.cxrpack"
    api.pack_results(hospital.results, out, salt=tmp_path / "salt", attributes="sex,age,site")
    return out


def merged(pack: Path, into: Path) -> Path:
    assert api.merge_results([pack], into).in_peace
    return into


def test_nothing_that_identifies_stands_anywhere_in_a_pack(hospital: Hospital, pack: Path, tmp_path: Path) -> None:
    pieces = everything_in(pack.read_bytes())
    wanted = {*secrets(hospital.table), "krokowski", (tmp_path / "salt").read_text().splitlines()[1]}
    assert len(wanted) > 400
    found = {secret for secret in wanted for piece in pieces if secret.encode() in piece}
    assert found == set()
    # the same search finds them where they are
    whole = b"".join(path.read_bytes() for path in hospital.results.rglob("*") if path.is_file())
    assert str(hospital.table.parent).encode() in whole


def test_a_packed_store_gives_the_numbers_of_the_original(hospital: Hospital, pack: Path, tmp_path: Path) -> None:
    before = api.leaderboard(hospital.results, baseline="pixels", replicates=4000).to_pandas()
    after = api.leaderboard(merged(pack, tmp_path / "into"), baseline="pixels", replicates=4000).to_pandas()
    name = next(name for name in after["encoder"].unique() if name.startswith("mine.py:Mine~"))
    after["encoder"] = after["encoder"].replace(name, hospital.mine)
    keys = ["encoder", "dataset", "protocol", "fraction", "metric", "label"]
    both: Any = before.merge(after, on=keys, suffixes=("", "_packed"), validate="1:1")
    both = both[both["protocol"] == "classification"]
    assert len(both) > 20
    for column in ("value", "gain", "n", "patients", "positives", "rarer", "sd_seeds"):
        np.testing.assert_allclose(both[column], both[f"{column}_packed"], rtol=1e-9, atol=1e-12)
    # other resamples of the same patients: the bootstrap's standard error varies by 1 / sqrt(2 B) = 1.1% with them
    errors = both[["se_patients", "se_patients_packed"]].dropna()
    errors = errors[errors["se_patients"] > 0]
    assert len(errors) > 20
    assert (errors["se_patients_packed"] / errors["se_patients"]).between(0.93, 1.07).all()
    api.compare(name, "pixels", results=tmp_path / "into", replicates=200)
    api.calibration(tmp_path / "into", replicates=200)


def test_rows_are_not_in_the_order_of_the_identifiers(hospital: Hospital, pack: Path, tmp_path: Path) -> None:
    for path in merged(pack, tmp_path / "into").glob("cells/*/*/*/*.parquet"):
        ids = Predictions.load(path).rows["image_id"].tolist()
        assert ids == sorted(ids)
        assert all(len(name) == 32 for name in ids)


def test_parts_of_the_encoder_stay_and_those_of_the_data_take_the_salt(
    hospital: Hospital, pack: Path, tmp_path: Path
) -> None:
    """So two sites with two salts have the same encoders, and a later run of the same encoder agrees with both."""
    old, new = (
        {(p.cell["protocol"], p.cell["seed"]): p.cell["parts"] for p in Results(root).load_predictions()
         if p.cell["encoder"] == "pixels"}
        for root in (hospital.results, merged(pack, tmp_path / "into"))
    )  # fmt: skip
    assert old.keys() == new.keys()
    for key, parts in old.items():
        assert {name for name in parts if parts[name] != new[key][name]} == {"dataset"}


def test_ages_above_89_are_unknown_and_that_is_said(hospital: Hospital, pack: Path, tmp_path: Path) -> None:
    old = [one for one in Results(hospital.results).load_predictions() if one.kind == "regression"]
    new = [one for one in Results(merged(pack, tmp_path / "into")).load_predictions() if one.kind == "regression"]
    hidden = [int((one.rows["target:age"].to_numpy() > 89).sum()) for one in old]
    assert max(hidden) > 0
    assert all(not (one.rows["target:age"].to_numpy() > 89).any() for one in new)
    assert sum(any("above 89 counts as unknown" in note for note in one.notes) for one in new) == len(new)


def test_the_same_salt_gives_the_same_pack_and_another_salt_pairs_with_nothing(
    hospital: Hospital, pack: Path, tmp_path: Path
) -> None:
    again, other = tmp_path / "again", tmp_path / "other"
    api.pack_results(hospital.results, again, salt=tmp_path / "salt", attributes="sex,age,site")
    api.pack_results(hospital.results, other, salt=tmp_path / "another salt")
    assert again.read_bytes() == pack.read_bytes()
    ids = [
        {name for one in Results(store).load_predictions() for name in one.rows["image_id"]}
        for store in (merged(pack, tmp_path / "one"), merged(other, tmp_path / "two"))
    ]
    assert ids[0].isdisjoint(ids[1])


def test_groups_of_patients_leave_only_when_they_are_named(hospital: Hospital, pack: Path, tmp_path: Path) -> None:
    """By sex the packed numbers are those of the original; without --attributes there is no table of patients."""
    of_both = [api.by_group("sex", root, replicates=200, baseline="pixels", tasks="clinic:classification").to_pandas()
               for root in (hospital.results, merged(pack, tmp_path / "into"))]  # fmt: skip
    values = [sorted(frame["value"].dropna().round(12)) for frame in of_both]
    assert values[0] == values[1]
    assert len(values[0]) >= 4
    told = api.pack_results(hospital.results, tmp_path / "b", salt=tmp_path / "salt", attributes="age").lines
    assert any("few patients: clinic has" in line for line in told)
    api.pack_results(hospital.results, tmp_path / "bare", salt=tmp_path / "salt")
    with zipfile.ZipFile(tmp_path / "bare") as archive:
        assert not any("manifests" in name for name in archive.namelist())


def test_a_damaged_cell_is_named_and_left_out(
    hospital: Hospital, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = next(hospital.results.glob("cells/clinic/classification/pixels/*.parquet"))
    flip(path)
    words = (
        "results",
        "pack",
        "--results",
        str(hospital.results),
        "--salt",
        str(tmp_path / "s"),
        "-o",
        str(tmp_path / "p"),
    )
    code, _, err = cxrbench(monkeypatch, capsys, *words)
    assert code == 1
    assert f"damaged, left out: {path.relative_to(hospital.results)}" in err
    into = merged(tmp_path / "p", tmp_path / "into")
    assert not (into / path.relative_to(hospital.results)).exists()


def test_a_damaged_manifest_is_named_and_left_out(hospital: Hospital, tmp_path: Path) -> None:
    """Also where groups of patients are asked for, and of a pack without rows."""
    path = next(hospital.results.glob("manifests/*"))
    path.write_bytes(path.read_bytes()[:900])
    salt = tmp_path / "salt"
    for packed in (
        api.pack_results(hospital.results, tmp_path / "a", salt=salt, attributes="sex"),
        api.pack_results(hospital.results, tmp_path / "b", aggregate=True, baseline="pixels", replicates=100),
    ):
        assert [line.partition(" (")[0] for line in packed.damaged] == [f"damaged, left out: manifests/{path.name}"]
        assert "manifests" not in packed.counts


def test_an_encoder_that_lay_in_two_folders_is_in_a_pack_once_and_that_is_told(
    hospital: Hospital, tmp_path: Path
) -> None:
    for path in [*hospital.results.glob("cells/clinic/*/*mine*/*.parquet")]:
        one = Predictions.load(path)
        other = replace(one, cell={**one.cell, "encoder": "/elsewhere/mine.py:Mine"}, file=None)
        other.save(Path(str(path).replace(path.parent.name, "other")))
    cells = len([*hospital.results.glob("cells/*/*/*/*.parquet")])
    packed = api.pack_results(hospital.results, tmp_path / "a", salt=tmp_path / "salt")
    into = merged(tmp_path / "a", tmp_path / "into")
    assert packed.counts["cells"] == len([*into.glob("cells/*/*/*/*.parquet")]) < cells
    assert len([line for line in packed.lines if line.startswith("once for two: ")]) == 1


def test_texts_that_identify_are_withheld_and_that_is_told(hospital: Hospital, tmp_path: Path) -> None:
    path = next(hospital.results.glob("cells/clinic/classification/pixels/*.parquet"))
    one = Predictions.load(path)
    notes = ("3 bad images: scan-7003.png", "MRN481501 is left out", "harmless, 12 images")
    Predictions(**{**vars(one), "notes": notes, "file": None}).save(path)
    told = api.pack_results(hospital.results, tmp_path / "p", salt=tmp_path / "salt").lines
    assert any("withheld" in line and "an identifier" in line for line in told)
    new = Predictions.load(merged(tmp_path / "p", tmp_path / "into") / path.relative_to(hospital.results))
    assert new.notes[2] == "harmless, 12 images"
    assert all(note.startswith("a note was withheld") for note in new.notes[:2])


def test_requests_keep_what_was_asked_without_the_machine(pack: Path, tmp_path: Path) -> None:
    (one,) = api.requests(merged(pack, tmp_path / "into"))
    assert one["encoders"][0] == "pixels"
    assert one["encoders"][1].startswith("mine.py:Mine~")
    assert one["tasks"] == [f"clinic:{protocol}" for protocol in ("classification", "regression", "zero-shot")]
    assert one["settings"] == {"fractions": [0.5], "seeds": 2}


def test_check_finds_identifiers_in_a_store_and_none_in_its_pack(hospital: Hospital, pack: Path) -> None:
    raw, packed = api.check_results(hospital.results), api.check_results(pack)
    assert packed.clean
    assert packed.facts["content"] == "cells"
    assert "who" not in json.dumps(packed.facts)
    what = {one.what for one in raw.findings}
    assert {"an identifier that is no pseudonym", "a path", "a table of reports"} <= what


def test_a_salt_must_be_named_and_a_flipped_pack_is_refused(
    hospital: Hospital, pack: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, _, err = cxrbench(monkeypatch, capsys, "results", "pack", "--results", str(hospital.results), "-o", "x")
    assert (code, "--salt FILE is missing" in err) == (2, True)
    flip(pack)
    with pytest.raises(UserError, match="damaged"):
        api.merge_results([pack], tmp_path / "into")


KIND_ROWS = {
    "detection": {
        "boxes": [[1.0, 2, 3, 4], [5.0, 6, 7, 8], []], "scores": [[0.9], [0.2], []], "classes": [[0], [0], []],
        "matches": [[4095], [0], []], "true_boxes": [[1.0, 2, 3, 4], [], []], "true_classes": [[0], [], []],
        "target:x": [1.0, 0.0, 0.0],
    },
    "segmentation": {
        "height": [4, 4, 4], "width": [4, 4, 4], "rle:x": ["a", "b", "c"], "intersection:x": [3.0, 0.0, 0.0],
        "predicted:x": [4.0, 1.0, 0.0], "target:x": [5.0, 0.0, 0.0],
    },
    "retrieval": {
        "rank:x": [1.0, 3.0, 2.0], "value:recall@1:x": [1.0, 0.0, 0.0], "target:x": [1.0, 1.0, 2.0],
        "squared_error:x": [0.1, 0.2, 0.3], "truth:x": [[0.1, 0.2], [0.3, 0.1], [0.0, 0.5]],
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", KIND_ROWS)
def test_of_every_kind_what_tables_need_stays_and_outlines_boxes_and_embeddings_go(kind: Any) -> None:
    rows = pd.DataFrame(
        {
            "image_id": ["a0001", "a0002", "a0003"],
            "patient_id": ["p", "p", "q"],
            "split": ["test"] * 3,
            **KIND_ROWS[kind],
        }
    )
    cell = {"encoder": "e", "dataset": "d", "protocol": "p", "fraction": 1.0, "seed": 0, "identity": "", "parts": {}}
    one = Predictions(rows, ("x",), kind, {"macro": ("x",)}, False, cell)
    new = Deidentifier(Salt(b"sixteen bytes ok"), frozenset(), print).predictions(one)
    gone = {"boxes", "true_boxes", "true_classes", "height", "width", "rle:x", "squared_error:x", "truth:x"}
    assert gone.isdisjoint(new.rows.columns)
    measures = [m for m in KINDS[kind].measures.values() if m.name != "r2"]
    values = [
        [{x: float(f(Weights.of(np.ones((3, 1), np.uint16)))[0]) for x, f in m.items()}
         for m in prepared(each.rows, measures, ("x",), each.rows["patient_id"].to_numpy(str))]
        for each in (one, new)
    ]  # fmt: skip
    assert any(values[0])
    np.testing.assert_equal(values[0], values[1])


def test_a_pack_takes_the_place_of_packs_alone(hospital: Hospital, pack: Path, tmp_path: Path) -> None:
    """A salt that is overwritten is a secret that nobody has any more."""
    salt, table, sheet = tmp_path / "salt", tmp_path / "table.csv", tmp_path / "table.xlsx"
    table.write_text("image,patient\n")
    with zipfile.ZipFile(sheet, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    before = salt.read_bytes()
    for out in (salt, table, sheet, tmp_path):
        with pytest.raises(UserError, match="no exchange file"):
            api.pack_results(hospital.results, out, salt=salt)
    for name in ("x.cxrpack", "packs/x.cxrpack"):
        with pytest.raises(UserError, match="lies in the results folder"):
            api.pack_results(hospital.results, hospital.results / name, salt=salt)
    with pytest.raises(UserError, match="both"):
        api.pack_results(hospital.results, tmp_path / "new", salt=tmp_path / "x" / ".." / "new")
    assert (salt.read_bytes(), table.read_text()) == (before, "image,patient\n")
    assert not (tmp_path / "new").exists()
    assert api.pack_results(hospital.results, pack, salt=salt).file == pack
