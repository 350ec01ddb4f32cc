"""COVIDx: lists of two and of three classes, of several versions, and what is wrong with them."""

from pathlib import Path

import numpy as np
import pytest

from cxrbench.data.datasets.classification import covidx
from cxrbench.data.splits import shared_patients
from cxrbench.errors import UserError
from support import classification_layouts as layouts
from support.looked_up import cells, column

TWO = {
    "train": [*(f"ANON191 {n}.png positive actmed" for n in "ab"), *(f"q{n} q{n}.png negative rsna" for n in range(8))],
    "test": ["ANON191 c.png positive actmed", "z z.png negative cohen"],
}  # fmt: skip


def test_three_classes_exclude_each_other_and_say_their_sources(tmp_path: Path) -> None:
    manifest = covidx.read(layouts.covidx(tmp_path))
    assert (manifest.kind, manifest.labels) == ("multiclass", ("Normal", "Pneumonia", "COVID-19"))
    assert (manifest.targets().sum(1) == 1).all()
    assert len(manifest) == 21
    assert cells(manifest, "COVID(3).png", "patient_id", "COVID-19", "group:site") == ["COVID 3", 1, "sirm"]
    assert cells(manifest, "r0.png", "group:site", "Pneumonia") == ["rsna", 1], "rnsa is rsna"
    assert cells(manifest, "000004.jpg", "path") != cells(manifest, "000004.png", "path"), "two files of one stem"
    splits = column(manifest, "split")
    assert [name for name, split in splits.items() if split == "test"] == ["r90.png", "t1.jpeg", "t2.png"]
    assert list(splits.values()).count("val") in (3, 4)
    assert manifest.lineage == ("covidx", "covid-chestxray", "covid-radiography", "rsna", "nih", "ricord")
    assert "train_COVIDx9A.txt: 18 train and 3 test rows, of none of the versions" in manifest.notes[0]


def test_two_classes_are_one_label_and_patients_of_the_test_set_are_not_trained_on(tmp_path: Path) -> None:
    manifest = covidx.read(layouts.covidx(tmp_path, TWO, "6"))
    assert (manifest.kind, manifest.labels) == ("multilabel", ("COVID-19",))
    assert shared_patients(manifest.images["patient_id"].tolist(), manifest.images["split"].tolist()) == []
    assert "2 rows were left out: their patients are in test or val, too (a.png, b.png)." in manifest.notes
    assert column(manifest, "COVID-19") == {**{f"q{n}.png": 0.0 for n in range(8)}, "c.png": 1.0, "z.png": 0.0}


def test_three_classes_are_chosen_before_two_and_what_is_not_read_is_said(tmp_path: Path) -> None:
    layouts.covidx(tmp_path)
    layouts.covidx(tmp_path, {"train": ["a x1.png positive sirm"], "test": ["b x2.png negative rsna"]}, "")
    manifest = covidx.read(tmp_path)
    assert len(manifest.labels) == 3
    assert "Not read: train.txt." in manifest.notes[0]
    assert "2 files without a row were left out." in manifest.notes
    versions = sorted(["9A", "CXR-3A", "5", "", "9B", "CXR-3B", "6"], key=covidx._rank)
    assert versions == ["6", "9B", "CXR-3B", "", "5", "9A", "CXR-3A"]


def test_an_official_validation_list_is_used(tmp_path: Path) -> None:
    rows = {**TWO, "val": ["q1 v1.png negative rsna", "v2 v2.png positive ricord"]}
    manifest = covidx.read(layouts.covidx(tmp_path, rows, ""))
    splits = column(manifest, "split")
    assert {name for name, split in splits.items() if split == "val"} == {"v1.png", "v2.png"}
    assert "q1.png" not in splits, "its patient is in val"


def test_lists_without_sources_may_have_images_of_any(tmp_path: Path) -> None:
    rows = {split: [line.rpartition(" ")[0] for line in lines] for split, lines in TWO.items()}
    manifest = covidx.read(layouts.covidx(tmp_path, rows, "6"))
    assert manifest.lineage == covidx.LINEAGE
    layouts.covidx(tmp_path / "new", {"train": ["a a.png positive mars"], "test": ["b b.png negative rsna"]}, "")
    assert any("Unknown sources" in note and "mars" in note for note in covidx.read(tmp_path / "new").notes)


def test_a_version_is_known_by_its_counts() -> None:
    lists = {"train": Path("train.txt")}
    assert "version CXR-3B." in covidx._version(lists, [], {"train": 29_986, "test": 400})
    assert "version 6." in covidx._version(lists, [], {"train": 14_311, "test": 200})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("t1 t1.jpeg COVID-19 ricord", "t1 t1.jpeg corona ricord", "test_COVIDx9A.txt line 2 is 't1 t1.jpeg corona"),
        ("t1 t1.jpeg COVID-19 ricord", "t1.jpeg COVID-19 ricord", "line 2 is 't1.jpeg COVID-19 ricord'"),
        ("t1 t1.jpeg COVID-19 ricord", "t1 t1.jpeg positive ricord", "are not of one version"),
        ("t1 t1.jpeg COVID-19 ricord", "t1 t9.jpeg COVID-19 ricord", r"1 image\(s\) of test_COVIDx9A.txt have no file"),
        ("t1 t1.jpeg", "t2 t2.png", "has an image twice: t2.png"),
    ],
)
def test_lists_that_are_wrong(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = layouts.covidx(tmp_path) / "test_COVIDx9A.txt"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match=message) as caught:
        covidx.read(tmp_path)
    assert "\n" not in str(caught.value)


def test_missing_lists_and_folders(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such folder"):
        covidx.read(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"file train.txt \(or train_COVIDx9A.txt, ...\) is missing"):
        covidx.read(tmp_path)
    (layouts.covidx(tmp_path) / "test_COVIDx9A.txt").unlink()
    with pytest.raises(UserError, match=r"file test_COVIDx9A.txt is missing"):
        covidx.read(tmp_path)
    assert np.isfinite(covidx.read(layouts.covidx(tmp_path / "b", version="")).targets()).all()
