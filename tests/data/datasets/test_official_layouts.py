"""The adapters on tiny datasets in the official layouts, traps of docs/methods.md's splits included."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from cxrbench.data.annotations.rle import decode_counts
from cxrbench.data.datasets import nih, rsna, siim, vindr
from cxrbench.data.manifest import Dataset, Manifest
from cxrbench.data.splits import shared_patients
from cxrbench.errors import UserError
from support import layouts

ADAPTERS = {"vindr": vindr.DATASET, "rsna": rsna.DATASET, "siim": siim.DATASET, "nih": nih.DATASET}


def written(name: str, root: Path) -> Path:
    return layouts.nih(root, lists=False) if name == "nih" else getattr(layouts, name)(root)


def column(manifest: Manifest, name: str) -> dict[str, float]:
    return dict(zip(manifest.images["image_id"], manifest.images[name], strict=True))


def counts(manifest: Manifest) -> dict[str, int]:
    return {split: len(manifest.rows_of(split)) for split in ("train", "val", "test")}


@pytest.mark.parametrize("name", ADAPTERS)
def test_every_adapter_gives_a_sound_manifest(name: str, tmp_path: Path) -> None:
    root = written(name, tmp_path / name)
    dataset: Dataset = ADAPTERS[name]
    manifest = dataset.read(root)
    assert (dataset.name, manifest.name) == (name, name)
    assert [path.stat().st_size for path in manifest.paths()] == manifest.images["bytes"].tolist()
    assert shared_patients(manifest.images["patient_id"].tolist(), manifest.images["split"].tolist()) == []
    assert set(manifest.images["split"]) == {"train", "val", "test"}
    assert set(manifest.split_notes) <= set(manifest.notes)
    assert manifest.source == dataset.source
    assert manifest.licence
    assert dataset.read(root).fingerprint == manifest.fingerprint
    manifest.save(tmp_path / "manifest.parquet")
    assert Manifest.load(tmp_path / "manifest.parquet").fingerprint == manifest.fingerprint


def test_nih_says_which_note_is_of_which_split(tmp_path: Path) -> None:
    listed = nih.read(layouts.nih(tmp_path / "listed", lists=True))
    assert sorted(split for of in listed.split_notes.values() for split in of) == ["test", "train", "val"]
    assert "Official test list." in listed.notes_without(("train", "val"))
    alone = nih.read(layouts.nih(tmp_path / "alone", lists=False))
    assert [note for note in alone.notes_without(("test",)) if "70/10/20" in note] == []


@pytest.mark.parametrize("name", ADAPTERS)
def test_errors_say_what_is_missing_and_where_it_comes_from(name: str, tmp_path: Path) -> None:
    dataset = ADAPTERS[name]
    with pytest.raises(UserError, match="there is no such folder") as caught:
        dataset.read(tmp_path / "nowhere")
    assert dataset.source in str(caught.value)
    assert dataset.licence in str(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"file .*csv.* is missing"):
        dataset.read(tmp_path / "empty")
    root = written(name, tmp_path / name)
    image = dataset.read(root).paths()[3]
    image.unlink()
    with pytest.raises(UserError, match=rf"1 image\(s\) of .*csv have no file \({re.escape(image.stem)}\)"):
        dataset.read(root)


@pytest.mark.parametrize(
    ("name", "table", "wrong"),
    [
        ("vindr", "annotations/image_labels_train.csv", "rad_id"),
        ("vindr", "annotations/image_labels_test.csv", "Edema"),
        ("vindr", "annotations/annotations_test.csv", "x_max"),
        ("rsna", "stage_2_train_labels.csv", "Target"),
        ("rsna", "stage_2_detailed_class_info.csv", "class"),
        ("siim", "train-rle.csv", "EncodedPixels"),
        ("nih", "Data_Entry_2017.csv", "Patient ID"),
    ],
)
def test_a_missing_column_is_named(name: str, table: str, wrong: str, tmp_path: Path) -> None:
    path = written(name, tmp_path) / table
    path.write_text(path.read_text().replace(wrong, "Nonsense", 1))
    with pytest.raises(UserError, match=rf"{path.name} lacks the column\(s\) {wrong}"):
        ADAPTERS[name].read(tmp_path)


def test_vindr_fuses_by_majority_and_mends_the_two_spellings(tmp_path: Path) -> None:
    manifest = vindr.read(layouts.vindr(tmp_path))
    heart = column(manifest, "Cardiomegaly")
    assert [heart[f"t{n:02d}"] for n in range(4)] == [0, 0, 1, 1]
    nothing = column(manifest, "No finding")
    assert [nothing[f"t{n:02d}"] for n in range(4)] == [1, 1, 0, 0]
    other = column(manifest, "Other diseases")
    assert (other["t05"], other["e1"], sum(other.values())) == (1, 1, 2)
    assert "Other disease" not in manifest.images
    assert len(manifest.labels) == 28
    assert manifest.groups["macro"] == vindr.RADJEPA_SIX
    assert set(manifest.groups["all"]) == {"Cardiomegaly", "Other diseases", "No finding"}
    assert counts(manifest) == {"train": 18, "val": 2, "test": 4}
    assert set(manifest.images["view"]) == {"PA"}
    assert manifest.boxes is not None
    assert sorted(manifest.boxes["image_id"]) == ["e1", *(f"t{n:02d}" for n in range(20) if n % 4 > 1)]
    boxes = manifest.boxes.set_index("image_id")
    assert boxes.loc["t02", ["label", "x", "y", "width", "height"]].tolist() == ["Cardiomegaly", 1.5, 2, 8, 10]
    assert boxes.loc["e1", ["label", "x", "y", "width", "height"]].tolist() == ["Cardiomegaly", 0, 0, 4, 5]
    assert any("no patient ids" in note for note in manifest.notes)
    assert any("20 images in train/; the published set has 15,000" in note for note in manifest.notes)


def test_rsna_gives_one_row_per_image_and_keeps_the_boxes(tmp_path: Path) -> None:
    manifest = rsna.read(layouts.rsna(tmp_path))
    assert len(manifest) == 20
    assert column(manifest, "Pneumonia") == {f"id{n:02d}": float(n % 3 == 0) for n in range(20)}
    assert counts(manifest) == {"train": 12, "val": 4, "test": 4}
    assert manifest.boxes is not None
    assert len(manifest.boxes) == 8
    boxes = manifest.boxes.set_index("image_id").loc["id03"]
    assert (boxes["x"].tolist(), boxes["width"].tolist()) == ([1, 8], [5, 4])
    assert "nih" in manifest.lineage


def test_rsna_uses_the_nih_patients_where_the_mapping_is_there(tmp_path: Path) -> None:
    layouts.rsna(tmp_path)
    entries = [{"subset_img_id": f"id{n:02d}", "img_id": f"{n // 4:08d}_{n % 4:03d}.png"} for n in range(20)]
    (tmp_path / rsna.MAPPING).write_text(json.dumps(entries))
    manifest = rsna.read(tmp_path)
    assert len(set(manifest.images["patient_id"])) == 5
    assert shared_patients(manifest.images["patient_id"].tolist(), manifest.images["split"].tolist()) == []
    (tmp_path / rsna.MAPPING).write_text(json.dumps(entries[:3]))
    with pytest.raises(UserError, match=r"lacks 17 image\(s\)"):
        rsna.read(tmp_path)
    (tmp_path / rsna.MAPPING).write_text("{}x")
    with pytest.raises(UserError, match="is no list of objects"):
        rsna.read(tmp_path)


@pytest.mark.parametrize(
    ("table", "old", "new", "message"),
    [
        ("stage_2_train_labels.csv", "id01,,,,,0", "id01,,,,,2", "Target other than 0 and 1"),
        ("stage_2_train_labels.csv", "id03,8.0,2.0,4.0,6.0,1", "id03,,,,,0", "gives image id03 both Target"),
        ("stage_2_train_labels.csv", "id00,1.0", "id00,", "a positive row without a box"),
        ("stage_2_train_labels.csv", "id00,1.0", "id00,left", "is not all numbers"),
        ("stage_2_detailed_class_info.csv", "id00,Lung Opacity", "id00,Normal", "does not agree with the Target of 1"),
        ("stage_2_detailed_class_info.csv", "id01,Normal", "id01,Odd", "unknown class 'Odd'"),
        ("stage_2_detailed_class_info.csv", "id01,Normal\n", "", r"lacks 1 image\(s\): id01"),
        ("stage_2_train_labels.csv", "id01,,,,,0", "id01,,,0", "has 4 cells, its header 6"),
    ],
)
def test_rsna_tables_that_contradict_themselves(table: str, old: str, new: str, message: str, tmp_path: Path) -> None:
    path = layouts.rsna(tmp_path) / table
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match=message):
        rsna.read(tmp_path)


def test_siim_groups_rows_by_image_and_unites_masks(tmp_path: Path) -> None:
    manifest = siim.read(layouts.siim(tmp_path))
    positive = {name for name, value in column(manifest, "Pneumothorax").items() if value == 1}
    assert positive == {"1.2.0", "1.2.5", "1.2.10", "1.2.15"}
    assert len(manifest) == 20
    assert len(set(manifest.images["patient_id"])) == 10
    assert counts(manifest) == {"train": 14, "val": 2, "test": 4}
    assert set(manifest.images["view"]) == {"PA", "AP"}
    assert manifest.masks is not None
    assert set(manifest.masks["image_id"]) == positive
    both, first = np.logical_or(*layouts.siim_masks()), layouts.siim_masks()[0]
    for name, expected in (("1.2.0", both), ("1.2.5", first)):
        row = manifest.masks[manifest.masks["image_id"] == name].iloc[0]
        np.testing.assert_array_equal(decode_counts(row["counts"], row["height"], row["width"]), expected)
    assert any("1 files without a row" in note for note in manifest.notes)


def test_siim_refuses_masks_of_another_size_and_contradictions(tmp_path: Path) -> None:
    path = layouts.siim(tmp_path) / "train-rle.csv"
    good = path.read_text()
    path.write_text(good + "1.2.5, -1\n")
    with pytest.raises(UserError, match=r"1 image\(s\) both a mask and -1: 1\.2\.5"):
        siim.read(tmp_path)
    path.write_text(good + "1.2.5,200 100\n")
    with pytest.raises(UserError, match=r"image 1\.2\.5: mask '200 100' runs to pixel 300, beyond the 16 x 16 image"):
        siim.read(tmp_path)


def test_nih_labels_views_and_split_by_patient(tmp_path: Path) -> None:
    manifest = nih.read(layouts.nih(tmp_path, lists=False, suffix=".jpg"))
    assert manifest.labels == nih.LABELS
    assert manifest.labels[:3] == ("Atelectasis", "Cardiomegaly", "Effusion")
    assert column(manifest, "Cardiomegaly")["00000001_001"] == column(manifest, "Emphysema")["00000001_001"] == 1
    assert manifest.targets().sum(0)[[1, 10, 13]].tolist() == [10, 10, 10]
    assert manifest.targets().sum() == 30
    assert column(manifest, "view")["00000001_000"] == "PA"
    assert counts(manifest) == {"train": 28, "val": 4, "test": 8}
    assert any("70/10/20 by patient" in note for note in manifest.notes)


def test_nih_official_lists_and_the_twelve_folders(tmp_path: Path) -> None:
    folders = ("images_001/images", "images_012/images")
    manifest = nih.read(layouts.nih(tmp_path, lists=True, folders=folders))
    test = set(manifest.images["patient_id"].iloc[manifest.rows_of("test")])
    assert test == {"17", "18", "19", "20"}
    assert counts(manifest) == {"train": 28, "val": 4, "test": 8}
    (tmp_path / "train_val_list.txt").unlink()
    with pytest.raises(UserError, match=r"test_list\.txt is there without its companion"):
        nih.read(tmp_path)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("Data_Entry_2017.csv", "Hernia", "Herniae", "unknown finding 'Herniae'"),
        ("Data_Entry_2017.csv", "00000002_000.png", "00000001_000.png", "has an image twice"),
        ("test_list.txt", "00000017_000.png\n", "", r"1 image\(s\) are in neither or both .*: 00000017_000"),
        ("test_list.txt", "00000099", "x", ""),
    ],
)
def test_nih_tables_that_contradict_themselves(file: str, old: str, new: str, message: str, tmp_path: Path) -> None:
    path = layouts.nih(tmp_path, lists=True) / file
    path.write_text(path.read_text().replace(old, new))
    if not message:
        assert len(nih.read(tmp_path)) == 40  # entries of absent images in the lists do not matter
        return
    with pytest.raises(UserError, match=message):
        nih.read(tmp_path)


def test_nih_lists_that_leak_a_patient_are_refused(tmp_path: Path) -> None:
    layouts.nih(tmp_path, lists=True)
    train, test = tmp_path / "train_val_list.txt", tmp_path / "test_list.txt"
    train.write_text(train.read_text() + "00000017_000.png\n")
    test.write_text(test.read_text().replace("00000017_000.png\n", ""))
    with pytest.raises(UserError, match=r"1 patient\(s\) in two splits: 17"):
        nih.read(tmp_path)


def test_an_image_in_two_folders_is_refused(tmp_path: Path) -> None:
    layouts.nih(tmp_path, lists=False)
    (tmp_path / "images_001").mkdir()
    (tmp_path / "images_001" / "00000001_000.png").write_bytes(b"x")
    with pytest.raises(UserError, match="image 00000001_000 is there twice"):
        nih.read(tmp_path)
