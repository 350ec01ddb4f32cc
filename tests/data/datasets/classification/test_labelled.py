"""CheXchoNet, ChestX6, MedMod, RANZCR CLiP and CXR-LT on tiny folders in their official layouts."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cxrbench.data.datasets.classification import chestx6, chexchonet, cxr_lt, medmod, ranzcr_clip
from cxrbench.data.manifest import Dataset, Manifest
from cxrbench.data.splits import shared_patients
from cxrbench.errors import UserError
from support import classification_layouts as layouts
from support.looked_up import cells, column

Make = Callable[[Path], Path]
READERS: dict[str, tuple[Dataset, Make]] = {
    "chexchonet": (chexchonet.DATASET, layouts.chexchonet),
    "chestx6": (chestx6.DATASET, layouts.chestx6),
    "medmod": (medmod.DATASET, lambda root: layouts.medmod(root, medmod.LABELS)),
    "medmod whole": (medmod.DATASET, lambda root: layouts.medmod_whole(root, medmod.LABELS)),
    "medmod own": (medmod.DATASET, lambda root: layouts.medmod_of_its_own(root, medmod.LABELS)),
    "ranzcr-clip": (ranzcr_clip.DATASET, lambda root: layouts.ranzcr_clip(root, ranzcr_clip.LABELS)),
    "cxr-lt": (cxr_lt.DATASET, lambda root: layouts.cxr_lt(root, cxr_lt.LABELS)),
}


def read(name: str, root: Path) -> Manifest:
    dataset, make = READERS[name]
    return dataset.read(make(root))


@pytest.mark.parametrize("name", READERS)
def test_every_reader_gives_a_sound_manifest(name: str, tmp_path: Path) -> None:
    dataset, _ = READERS[name]
    manifest = read(name, tmp_path)
    assert manifest.name == dataset.name == name.partition(" ")[0]
    assert [path.stat().st_size for path in manifest.paths()] == manifest.images["bytes"].tolist()
    assert shared_patients(manifest.images["patient_id"].tolist(), manifest.images["split"].tolist()) == []
    assert set(manifest.images["split"]) == {"train", "val", "test"}
    assert dataset.read(tmp_path).fingerprint == manifest.fingerprint
    assert dataset.lineage[0] == dataset.name
    manifest.save(tmp_path / "manifest.parquet")
    assert Manifest.load(tmp_path / "manifest.parquet").fingerprint == manifest.fingerprint


@pytest.mark.parametrize("name", READERS)
def test_errors_say_what_is_missing_and_where_it_comes_from(name: str, tmp_path: Path) -> None:
    dataset, make = READERS[name]
    with pytest.raises(UserError, match="there is no such folder") as caught:
        dataset.read(tmp_path / "nowhere")
    assert dataset.source in str(caught.value)
    assert dataset.licence in str(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="is missing"):
        dataset.read(tmp_path / "empty")
    if name in ("chestx6", "cxr-lt"):  # one has no table, the other goes without
        return
    image = dataset.read(make(tmp_path / "whole")).paths()[3]
    image.unlink()
    with pytest.raises(UserError, match=r"1 image\(s\) of .*csv have no file"):
        dataset.read(tmp_path / "whole")


@pytest.mark.parametrize(
    ("name", "table", "old", "new", "message"),
    [
        ("chexchonet", "metadata.csv", "slvh,dlv,comp", "slvh,DLV,comp", r"metadata.csv lacks the column\(s\) dlv"),
        ("chexchonet", "metadata.csv", ",1,1,1,0,0,0", ",1,2,1,0,0,0", "metadata.csv has '2' in column dlv"),
        ("chexchonet", "metadata.csv", ",1.1,", ",thin,", "column lvpwd of metadata.csv is not all numbers"),
        ("chexchonet", "metadata.csv", ",1.1,", ",inf,", "column lvpwd of metadata.csv is not all numbers: it has inf"),
        ("chexchonet", "metadata.csv", ",1.1,", ",1_1,", "column lvpwd of metadata.csv is not all numbers: it has 1_1"),
        ("chexchonet", "metadata.csv", "x01.jpg", "x00.jpg", "metadata.csv has an image twice: x00"),
        ("medmod", "test/test.csv", "Shock", "Shocked", r"test.csv lacks the column\(s\) Shock"),
        ("medmod", "val/val.csv", "10000000", "john", "has the subject_id 'john', which is no number"),
        ("medmod whole", "medmod_final.csv", "30000019.0", "29999999", "is not in the order of stay_id"),
        ("medmod own", "phenotyping/val_listfile.csv", "Shock", "shock", r"lacks the column\(s\) Shock"),
        ("medmod own", "root/all_stays.csv", "2180-05-02 08", "2180-05-99 08", "intime of all_stays.csv is not"),
        ("medmod own", "mimic-cxr-2.0.0-metadata.csv", ",93000.5", ",noon", "StudyTime of mimic-cxr-2.0.0-meta"),
        ("medmod own", "mimic-cxr-2.0.0-metadata.csv", "10000001", "x", "the subject_id 'x', which is no"),
        ("medmod own", "phenotyping/test_listfile.csv", "30000017", "30000000", "name stay 30000000 twice"),
        ("ranzcr-clip", "train.csv", "PatientID", "Patient", r"train.csv lacks the column\(s\) PatientID"),
        ("ranzcr-clip", "train.csv", "1.2.826.3,0", "1.2.826.3,", "train.csv has '' in column ETT - Abnormal"),
        ("cxr-lt", "CXRLT_2026_training.csv", "Hernia", "hernia", r"lacks the column\(s\) Hernia"),
        ("cxr-lt", "CXRLT_2026_training.csv", "2168_01", "2168_02", "has an image twice: 2168_02"),
    ],
)  # fmt: skip
def test_tables_that_are_wrong(name: str, table: str, old: str, new: str, message: str, tmp_path: Path) -> None:
    dataset, make = READERS[name]
    path = make(tmp_path) / table
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=message) as caught:
        dataset.read(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "table"), [("chexchonet", "metadata.csv"), ("medmod", "test/test.csv"), ("ranzcr-clip", "train.csv")]
)
def test_a_table_without_its_header_does_not_spill_its_first_row(name: str, table: str, tmp_path: Path) -> None:
    dataset, make = READERS[name]
    path = make(tmp_path) / table
    text = "A patient's history, which goes on and on and belongs to nobody else. " * 3
    first = ",".join([f'"{text}"', *map(str, range(60))])
    path.write_text(f"{first}\n{first}\n")
    with pytest.raises(UserError, match=r"lacks the column\(s\) .* and \d+ more; it has .* and 55 more") as caught:
        dataset.read(tmp_path)
    assert "belongs to nobody" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_cxr_lt_says_how_many_images_have_no_patient(tmp_path: Path) -> None:
    dataset, make = READERS["cxr-lt"]
    path = make(tmp_path / "one") / "CXRLT_2026_training.csv"
    rows = [line.split(",") for line in path.read_text().splitlines()]
    rows[1][rows[0].index("PatientID")] = ""
    path.write_text("\n".join(",".join(row) for row in rows))
    before = sum("no PatientID" in note for note in dataset.read(make(tmp_path / "whole")).notes)
    assert (before, sum("1 images have no PatientID" in note for note in dataset.read(tmp_path / "one").notes)) == (
        0,
        1,
    )


def test_chexchonet_has_labels_of_patients_and_numbers_to_be_predicted(tmp_path: Path) -> None:
    manifest = read("chexchonet", tmp_path)
    assert manifest.groups["macro"] == ("composite_slvh_dlv",)
    assert cells(manifest, "x01", "slvh", "dlv", "composite_slvh_dlv") == [1, 0, 1]
    assert cells(manifest, "x04", "slvh", "dlv", "composite_slvh_dlv") == [0, 0, 0]
    assert cells(manifest, "x02", "patient_id", "group:sex", "group:age", "view") == ["p0", "F", "42", "PA"]
    assert manifest.quantities == ("ivsd", "lvpwd", "lvidd")
    np.testing.assert_allclose(cells(manifest, "x10", *manifest.quantity_columns), [1.1, 1.1, 5.0], rtol=1e-6)
    assert np.isnan(column(manifest, "quantity:ivsd")["x04"])
    assert "30 images; the published set has 71,589." in manifest.notes
    path = tmp_path / "metadata.csv"
    path.write_text(path.read_text().replace(",1,1,1,0,0,0", ",1,1,0,0,0,0", 1))
    assert any(note.startswith("1 rows where composite_slvh_dlv is not") for note in chexchonet.read(tmp_path).notes)


def test_chestx6_has_its_folders_for_splits_and_classes(tmp_path: Path) -> None:
    manifest = read("chestx6", tmp_path)
    assert len(manifest) == 42
    assert manifest.kind == "multiclass"
    assert cells(manifest, "test_Pneumonia-Viral_1", "split", "Pneumonia-Viral", "Normal") == ["test", 1, 0]
    assert "42 images; the published set has 18,036." in manifest.notes
    layouts.image(tmp_path / "chest-xray/train/Normal/more/0.jpg")
    with pytest.raises(UserError, match=r"1 image\(s\) do not lie right in a folder of a class"):
        chestx6.read(tmp_path)
    shutil.rmtree(tmp_path / "chest-xray/train/Normal/more")
    (tmp_path / "chest-xray/val/Pneumonia").mkdir()
    with pytest.raises(UserError, match="unknown classes Pneumonia; known are Covid-19"):
        chestx6.read(tmp_path)
    shutil.rmtree(tmp_path / "chest-xray/val/Pneumonia")
    shutil.rmtree(tmp_path / "chest-xray/val/Normal")
    with pytest.raises(UserError, match="folder chest-xray/val/Normal is missing"):
        chestx6.read(tmp_path)


def test_medmod_is_split_by_patient_whatever_its_scripts_did(tmp_path: Path) -> None:
    parts, whole = read("medmod", tmp_path / "parts"), read("medmod whole", tmp_path / "whole")
    for name in ("image_id", "patient_id", "study_id", "split", *medmod.LABELS):
        assert column(parts, name) == column(whole, name)
    assert cells(whole, "00000003-a", "patient_id", "study_id") == ["10000001", "30000003"]
    assert (len(whole.groups["macro"]), whole.groups["deaths"]) == (25, medmod.DEATHS)
    assert not {*whole.groups} & {*whole.labels}  # a table asks for either by name
    # the first column of the table after the death columns is the first phenotype: (n + 3) % 3 == 2
    assert [cells(whole, f"{n:08x}-a", medmod.PHENOTYPES[0])[0] for n in range(4)] == [0, 0, 1, 0]
    assert any("split anew, 70/10/20 by patient" in note for note in whole.notes)
    assert medmod.DATASET.patients == "mimic"
    for path in (tmp_path / "parts").glob("*/*.csv"):
        head, *rows = path.read_text().splitlines()
        path.write_text("\n".join([f"{head},gender", *(f"{row},F" for row in rows)]))
    assert set(medmod.read(tmp_path / "parts").images["group:sex"]) == {"F"}
    (tmp_path / "parts/val/val.csv").unlink()
    with pytest.raises(UserError, match=r"file val/val.csv is missing beside train/train.csv"):
        medmod.read(tmp_path / "parts")


def test_medmods_own_lists_are_paired_with_the_last_ap_image_of_the_stay(tmp_path: Path) -> None:
    own, whole = read("medmod own", tmp_path / "own"), read("medmod whole", tmp_path / "whole")
    assert len(own) == 20
    assert own.images["image_id"].tolist() == [f"{n:08x}-{'a' if n == 5 else 'b'}" for n in range(20)], (
        "one has no label"
    )
    for name in ("patient_id", "study_id", *medmod.LABELS):
        assert own.images[name].tolist() == whole.images[name].tolist()
    assert own.images["split"].tolist() == ["train"] * 14 + ["val"] * 2 + ["test"] * 4
    assert set(own.images["view"]) == {"AP"}
    assert cells(own, "00000003-b", "group:sex", "group:age") == ["F", "61"]
    metadata = tmp_path / "own/mimic-cxr-2.0.0-metadata.csv"
    kept = [line for line in metadata.read_text().splitlines() if not line.startswith("00000003")]
    metadata.write_text("\n".join(kept))
    assert "1 stays without an image were left out." in medmod.read(tmp_path / "own").notes
    train, val, test = (tmp_path / f"own/phenotyping/{split}_listfile.csv" for split in ("train", "val", "test"))
    *others, moved = train.read_text().splitlines()
    train.write_text("\n".join(others))
    test.write_text(test.read_text() + moved)
    with pytest.raises(UserError, match=r"the lists put 1 patient\(s\) in two splits: 10000006"):
        medmod.read(tmp_path / "own")
    val.unlink()
    with pytest.raises(UserError, match=r"file phenotyping/val_listfile.csv is missing"):
        medmod.read(tmp_path / "own")


def test_ranzcr_labels_are_several_and_its_test_images_are_left_alone(tmp_path: Path) -> None:
    manifest = read("ranzcr-clip", tmp_path)
    assert len(manifest) == 24
    assert manifest.targets()[0].sum() > 1
    assert cells(manifest, "1.2.826.3", "patient_id", "ETT - Abnormal", "ETT - Borderline") == ["000000001", 0, 1]
    assert "1 files without a row in train.csv were left out." in manifest.notes
    assert "24 images; the published set has 30,083." in manifest.notes
    assert manifest.lineage == ("ranzcr-clip", "nih")


def test_cxr_lt_patients_are_padchests_unless_they_were_rounded(tmp_path: Path) -> None:
    manifest = read("cxr-lt", tmp_path)
    assert len(manifest) == 24
    assert not manifest.own_patients
    assert cells(manifest, "2168_02", "patient_id") == ["313572750430997347502932654319389875967"]
    assert "1 rows without an image file were left out." in manifest.notes
    path = tmp_path / cxr_lt.TABLE
    path.write_text(path.read_text().replace("313572750430997347502932654319389875966", "3.1357275043099735e+38"))
    rounded = cxr_lt.read(tmp_path)
    assert rounded.own_patients
    assert any("PatientIDs are rounded" in note for note in rounded.notes)
    shutil.rmtree(tmp_path / "images")
    with pytest.raises(UserError, match=r"not one image of CXRLT_2026_training.csv is there"):
        cxr_lt.read(tmp_path)
