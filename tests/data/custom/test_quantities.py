"""Numbers to be predicted in a user's CSV: how they are named, read, refused and counted."""

from pathlib import Path

import numpy as np
import pytest

from cxrbench.data.check import check
from cxrbench.data.custom.dataset import read_csv
from cxrbench.data.manifest import SPLITS, Manifest
from cxrbench.errors import UserError
from support.own_table import csv


def test_numbers_to_be_predicted(tmp_path: Path) -> None:
    cells = [f"{n % 2},{n / 4},{60 + n},,{n}" for n in range(8)]
    path = csv(tmp_path, "effusion,severity,age,note,regression:extent", cells)
    assert read_csv(path).quantities == ("extent",)
    (tmp_path / "own.toml").write_text('regression = ["severity", "age"]')
    manifest = read_csv(path)
    assert (manifest.labels, manifest.quantities) == (("effusion",), ("extent", "severity", "age"))
    np.testing.assert_array_equal(manifest.measured()[:, 1], np.arange(8) / 4)
    assert manifest.images["group:age"].tolist() == [str(60 + n) for n in range(8)]
    manifest.save(tmp_path / "kept.parquet")
    assert Manifest.load(tmp_path / "kept.parquet").quantities == manifest.quantities


def test_severity_is_known_by_name_where_it_is_a_number(tmp_path: Path) -> None:
    assert read_csv(csv(tmp_path, "severity", ["0", "1.5", "", "3"])).quantities == ("severity",)
    assert read_csv(csv(tmp_path, "severity", ["0", "1", "", "1"])).labels == ("severity",)


def test_a_slip_in_a_column_of_severities_is_no_reason_to_leave_it_out(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="row 4: column severity holds 'mild' among numbers; mend it, or leave it empty"
    ):
        read_csv(csv(tmp_path, "effusion,severity", ["0,1", "1,2", "0,mild", "1,0", "0,3"]))
    words = csv(tmp_path, "effusion,severity", ["0,mild", "1,severe", "0,none", "1,none"])
    assert "Columns not used: severity." in read_csv(words).notes


def test_quantities_change_a_fingerprint_and_other_datasets_keep_theirs(tmp_path: Path) -> None:
    path = csv(tmp_path, "effusion,dose", [f"{n % 2},{n}" for n in range(8)])
    before = read_csv(path).fingerprint
    (tmp_path / "own.toml").write_text('regression = ["dose"]')
    after = read_csv(path)
    assert after.fingerprint != before
    path.write_text(path.read_text().replace("7.png,1,7", "7.png,1,6"))
    assert read_csv(path).fingerprint != after.fingerprint


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["1", "2", "high"], "row 4: column dose holds 'high', where a number is to be predicted"),
        (["1", "2", "inf"], "row 4: column dose holds 'inf'"),
        (["2", "2", ""], "column dose is always 2: there is nothing to predict"),
        (["", "", ""], "column dose is empty"),
    ],
)
def test_numbers_that_are_none(cells: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read_csv(csv(tmp_path, "dose", cells, 'regression = ["dose"]'))


def test_a_column_of_many_numbers_called_label_is_told_what_it_may_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"numbers to be predicted: regression = \['label'\] in own.toml"):
        read_csv(csv(tmp_path, "label", [f"{n}.5" for n in range(60)]))
    (tmp_path / "own.toml").write_text('regression = ["label"]')
    assert read_csv(tmp_path / "own.csv").quantities == ("label",)


def test_a_check_shows_numbers_by_split(tmp_path: Path) -> None:
    cells = ["train,1", "train,3", "train,", "val,", "test,5"]
    report = check(read_csv(csv(tmp_path, "split,regression:dose", cells)), decode_all=False)
    assert [report.splits[split].numbers["dose"] for split in SPLITS] == [(2, 2.0, 1.0), (0, None, None), (1, 5.0, 0.0)]
    line = next(line for line in str(report).splitlines() if line.startswith("dose"))
    assert line.split() == [
        "dose",
        "(mean",
        "±",
        "SD)",
        "2",
        "±",
        "1",
        "(1",
        "unknown)",
        "-",
        "(1",
        "unknown)",
        "5",
        "±",
        "0",
    ]
