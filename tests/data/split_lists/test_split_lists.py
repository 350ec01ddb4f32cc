"""Lists of images and splits: what others call images, what is refused, and a dataset in other people's splits."""

import itertools
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from cxrbench.data.check import check
from cxrbench.data.manifest import Manifest
from cxrbench.data.split_lists.called import ImageNames
from cxrbench.data.split_lists.kept import keep, named, read
from cxrbench.data.split_lists.lists import assigned, read_lists
from cxrbench.errors import UserError

IDS = ("a.b.1", "a.b.2", "dev/0001", "train/0001", "00000002_001", "33")
PATHS = ("x/a.b.1.dcm", "x/a.b.2.dcm", "dev/0001.jpg", "train/0001.jpg", "images_001/00000002_001.png", "f/p1/s2/q.jpg")


def manifest() -> Manifest:
    images = pd.DataFrame({
        "image_id": IDS, "patient_id": ["p1", "p1", "p2", "p3", "p4", "p5"], "study_id": IDS, "view": "",
        "split": "train", "path": PATHS, "bytes": 1,
    })  # fmt: skip
    return Manifest("toy", Path("/data/toy"), images, ())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a.b.1", "a.b.1"), ("a.b.1.dcm", "a.b.1"), ("/scratch/me/x/a.b.2.dcm", "a.b.2"), ("a.b", None),
        ("dev/0001.png", "dev/0001"), ("object/train/0001.jpg", "train/0001"), ("00000002_001.png", "00000002_001"),
        ("images_001\\00000002_001.png", "00000002_001"), ("q.jpg", "33"), ("p1/s2/q", "33"), ("33_image", "33"),
        ("33", "33"), ("nobody.png", None),
    ],
)  # fmt: skip
def test_an_image_is_found_by_what_people_call_it(text: str, found: str | None) -> None:
    assert ImageNames(manifest()).find(text) == found


def test_a_name_that_may_be_several_images_is_refused() -> None:
    with pytest.raises(UserError, match=r"'0001\.jpg' may be several images of toy \(dev/0001, train/0001\)"):
        ImageNames(manifest()).find("0001.jpg")


def written(folder: Path, name: str, *lines: str) -> Path:
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


def test_a_table_a_file_for_each_split_and_lines_of_text_say_the_same(tmp_path: Path) -> None:
    table = written(tmp_path, "mgca.csv", "Path,age,Split", "a.b.1.dcm,3,training", "dev/0001.jpg,4,Valid", "33,5,test")
    files = [
        written(tmp_path, "mgca_train.csv", "filename", "a.b.1.dcm"),
        written(tmp_path, "mgca-valid.csv", "image_id,age", "dev/0001,4"),
        written(tmp_path, "test.txt", "q.jpg", ""),
    ]
    want = {"a.b.1": "train", "dev/0001": "val", "33": "test"}
    assert assigned(manifest(), read_lists([table])) == want
    assert assigned(manifest(), read_lists(files)) == want
    odd = written(tmp_path, "odd.csv", "what,where", "33,test")
    assert assigned(manifest(), read_lists([odd], "what", "where")) == {"33": "test"}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("image,split", "nobody,train", "33,test"), r"1 listed image\(s\) are not in toy \(nobody; the first"),
        (("image,split", "33,train", "q.jpg,train"), "l.csv line 3: image 'q.jpg' is listed before, in l.csv line 2"),
        (("image,split", "a.b.1,train", "a.b.2,test"), r"1 patient\(s\) of toy would be in two splits, the first p1"),
        (("image,split", "33,holdout"), "l.csv line 2 has the split 'holdout': known are train, val"),
        (("image,split", ",train"), "l.csv line 2 names no image"),
        (("image,split",), "l.csv: no images are listed"),
        (("what,split", "33,train"), r"no column of images that is known \(what, split\): say it by --image-column"),
        (("image,age", "33,5"), "has no split column .* and its name does not say one of train, val and test"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_one_line(lines: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as caught:
        assigned(manifest(), read_lists([written(tmp_path, "l.csv", *lines)]))
    assert "\n" not in str(caught.value)


def test_a_column_that_is_named_must_be_there(tmp_path: Path) -> None:
    path = written(tmp_path, "l.csv", "image,split", "33,train")
    for columns in (("file", ""), ("", "fold")):
        with pytest.raises(UserError, match=r"l\.csv has no column '(file|fold)'; it has image, split"):
            read_lists([path], *columns)


def test_a_dataset_in_other_splits_is_another_dataset_with_the_same_features(tmp_path: Path) -> None:
    splits = {"a.b.1": "train", "dev/0001": "val", "33": "test"}
    assert keep(tmp_path / "toy.mgca", "toy", splits, "mgca.csv")
    assert not keep(tmp_path / "toy.mgca", "toy", splits, "again.csv")
    other = read(tmp_path / "toy.mgca", lambda name: manifest())
    assert (other.name, other.split_of) == ("toy.mgca", "toy")
    assert dict(zip(other.images["image_id"], other.images["split"], strict=True)) == {
        **dict.fromkeys(IDS, "unused"), **splits,
    }  # fmt: skip
    assert other.fingerprint != manifest().fingerprint
    assert other.image_set == manifest().image_set
    assert replace(other, split_of="").image_set != manifest().image_set
    other.save(tmp_path / "m.parquet")
    assert Manifest.load(tmp_path / "m.parquet").split_of == "toy"
    assert check(other, decode_all=False).shared_patients == (), "who takes no part is in no split"
    assert any("3 images of toy are not in the list" in note for note in other.notes)


def test_what_was_said_of_the_own_splits_is_left_out_of_imported_ones(tmp_path: Path) -> None:
    keep(tmp_path / "toy.mgca", "toy", {"33": "test"}, "l.csv")
    own = replace(manifest(), notes=("No official split.", "6 images."), split_notes={"No official split.": ("test",)})
    notes = read(tmp_path / "toy.mgca", lambda name: own).notes
    assert notes[0] == "Splits of toy imported from l.csv."
    assert notes[-1] == "6 images."
    assert "No official split." not in notes


def test_other_splits_under_a_name_and_changed_data_are_refused(tmp_path: Path) -> None:
    keep(tmp_path / "toy.mgca", "toy", {"33": "test"}, "l.csv")
    with pytest.raises(UserError, match="holds other splits: give other --name"):
        keep(tmp_path / "toy.mgca", "toy", {"33": "train"}, "l.csv")
    (tmp_path / "toy.mine").mkdir()
    with pytest.raises(UserError, match="holds something else"):
        keep(tmp_path / "toy.mine", "toy", {"33": "train"}, "l.csv")
    with pytest.raises(UserError, match=r"1 image\(s\) of its list are not in toy any more \(33\)"):
        read(tmp_path / "toy.mgca", lambda name: manifest().without(["33"]))
    with pytest.raises(UserError, match="splits cannot be called"):
        named("toy", "../mgca")


def test_every_assignment_comes_back(tmp_path: Path) -> None:
    ids = ("a.b.1", "dev/0001", "train/0001", "33")
    for number, splits in enumerate(itertools.product(("train", "val", "test"), repeat=4)):
        lines = [f"{image},{split}" for image, split in zip(ids, splits, strict=True)]
        path = written(tmp_path, f"{number}.csv", "image,split", *lines)
        assert assigned(manifest(), read_lists([path])) == dict(zip(ids, splits, strict=True))
