"""What is known of patients: read from tables, no part of a fingerprint, and joined to saved predictions."""

import csv
import json
from pathlib import Path

import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import cxrbench
from cxrbench import api
from cxrbench.data.attributes import band, check_ways, group_of, years
from cxrbench.errors import UserError
from support.command import cxrbench as command

pytestmark = pytest.mark.usefixtures("folders")


def add(dataset: Path, **columns: list[str]) -> None:
    """Columns for a user's CSV."""
    with dataset.open() as file:
        table = list(csv.DictReader(file))
    pd.DataFrame(table).assign(**columns).to_csv(dataset, index=False)


def test_columns_of_a_csv_are_known_by_name_and_change_no_fingerprint(dataset: Path) -> None:
    before = cxrbench.load_dataset(str(dataset))
    ages = [("058Y", "7", "414", "80.0", "11M", "")[i % 6] for i in range(120)]
    add(dataset, Gender=["Female", "m", "other"] * 40, age=ages, clinic=["A", "B"] * 60)
    dataset.with_suffix(".toml").write_text('site = "clinic"')
    manifest = cxrbench.load_dataset(str(dataset))
    assert (manifest.fingerprint, manifest.labels) == (before.fingerprint, before.labels)
    assert [group_of(manifest, "sex")[f"{i:03}.png"] for i in range(3)] == ["F", "M", "other"]
    assert [group_of(manifest, "age")[f"{i:03}.png"] for i in range(6)] == ["40–59", "0–39", "", "80+", "0–39", ""]
    assert group_of(manifest, "site")["001.png"] == "B"
    assert (group_of(manifest, "scanner"), band("60")) == ({}, "60–79")
    with pytest.raises(UserError, match="choose from age, scanner, sex, site, view"):
        group_of(manifest, "race")


@pytest.mark.parametrize(
    ("ways", "problem"),
    [((), "choose from"), (("sex", "race"), "--by race: choose from"), (("sex", "sex"), "sex is named twice")],
)
def test_ways_of_grouping_are_checked_together(ways: tuple[str, ...], problem: str) -> None:
    check_ways(("sex", "age", "view"))
    with pytest.raises(UserError, match=problem):
        check_ways(ways)


@pytest.mark.parametrize(
    ("cell", "age"),
    [
        ("058Y", "58"), ("58.0", "58"), ("7 y", "7"), ("011M", "0"), ("024M", "2"), ("700m", "58"), ("051W", "0"),
        ("160W", "3"), ("364D", "0"), ("900D", "2"), ("120", "120"), ("121", ""), ("414", ""), ("old", ""), ("", ""),
    ],
)  # fmt: skip
def test_ages_in_dicoms_units_are_whole_years(cell: str, age: str) -> None:
    assert years(cell) == age


def test_results_of_before_are_shown_by_sex_without_a_rerun(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add(dataset, split=["train"] * 24 + ["val"] * 16 + ["test"] * 80)
    cxrbench.run("pixels", f"{dataset}:classification", precision="fp32")
    cell = next(Path("results/cells").rglob("*.parquet"))
    before = cell.read_bytes()
    code, _, said = command(monkeypatch, capsys, "leaderboard", "--by", "sex")
    assert (code, "no task has two groups by sex" in said) == (2, True)
    add(dataset, sex=["F" if i // 2 % 2 else "M" for i in range(120)])
    cxrbench.run("pixels", f"{dataset}:classification", precision="fp32")
    assert cell.read_bytes() == before
    code, _, said = command(monkeypatch, capsys, "leaderboard", "--by", "sex", "--rope", "0.02")
    assert (code, said.count("\n")) == (2, 1)
    assert "leave out --labels, --spread and --rope" in said
    words = ["leaderboard", "--by", "sex", "--replicates", "100", "--format", "json"]
    found = json.loads(command(monkeypatch, capsys, *words)[1])
    (task,), records = found["tasks"], found["records"]
    assert task["notes"] == ["means are over the labels of which every group has enough: coin"]
    rows = api.find_cell("clinic:classification", encoder="pixels").test_rows()
    for record in records:
        mine = rows[[(int(name[:3]) // 2 % 2 == 1) == (record["group"] == "F") for name in rows["image_id"]]]
        assert record["value"] == pytest.approx(roc_auc_score(mine["target:coin"], mine["score:coin"]))
    assert [record["group"] for record in records] == ["F", "M"]
    assert command(monkeypatch, capsys, *words, "--labels", "all")[0] == 2
