"""Shenzhen and Montgomery in their official layouts and in the copies that people have."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrbench.data.annotations.masks import TrueMasks
from cxrbench.data.datasets.classification import montgomery, shenzhen
from cxrbench.errors import UserError
from support import classification_layouts as layouts
from support.looked_up import cells, column, positives


def test_shenzhen_reads_the_class_from_the_name_and_the_rest_from_the_readings(tmp_path: Path) -> None:
    manifest = shenzhen.read(layouts.shenzhen(tmp_path))
    assert len(manifest) == 24
    assert column(manifest, "Tuberculosis") == {name: name.endswith("_1") for name in manifest.images["image_id"]}
    assert all(0 < tb < images for images, tb in positives(manifest, "Tuberculosis").values()), "both in each split"
    said = manifest.images[["group:sex", "group:age"]].to_numpy().tolist()
    assert said[:5] == [["M", "45"], ["F", "32"], ["F", "0"], ["M", "1"], ["", ""]]
    assert manifest.masks is not None
    assert manifest.masks["label"].unique().tolist() == ["lung"]
    true = TrueMasks.of(manifest)
    assert not true.known("CHNCXR_0001_0").any(), "no mask is no empty mask"
    assert true.native("CHNCXR_0003_0", layouts.H, layouts.W).all()
    notes = "\n".join(manifest.notes)
    assert "22 of 24 images have a lung mask" in notes
    assert "8 images have no reading that tells the sex" in notes
    assert "24 images; the published set has 662" in notes


def test_the_kaggle_copy_of_shenzhen_says_the_same(tmp_path: Path) -> None:
    official, copy = (
        shenzhen.read(make(tmp_path / make.__name__)) for make in (layouts.shenzhen, layouts.shenzhen_on_kaggle)
    )
    np.testing.assert_array_equal(copy.targets(), official.targets())
    assert copy.images["split"].tolist() == official.images["split"].tolist()
    assert cells(copy, "CHNCXR_0002_0", "group:sex", "group:age") == ["F", "22"]
    assert copy.masks is None


def test_shenzhen_findings_that_contradict_the_name_are_said(tmp_path: Path) -> None:
    path = layouts.shenzhen_on_kaggle(tmp_path) / "shenzhen_metadata.csv"
    path.write_text(path.read_text().replace("CHNCXR_0002_0.png,Female,22,normal", "CHNCXR_0002_0.png,Female,22,PTB"))
    manifest = shenzhen.read(tmp_path)
    assert any(note.startswith("1 findings contradict the file's name") for note in manifest.notes)
    assert column(manifest, "Tuberculosis")["CHNCXR_0002_0"] == 0


def test_montgomery_has_both_lungs_as_labels_of_their_own(tmp_path: Path) -> None:
    manifest = montgomery.read(layouts.montgomery(tmp_path))
    assert len(manifest) == 20
    assert sum(column(manifest, "Tuberculosis").values()) == 10
    assert cells(manifest, "MCUCXR_0001_1", "group:sex", "group:age") == ["M", "21"]
    true = TrueMasks.of(manifest)
    masks = dict(zip(true.labels, true.native("MCUCXR_0001_1", layouts.H, layouts.W), strict=True))
    assert set(masks) == {"left lung", "right lung"}
    assert masks["left lung"].any(0).tolist() == [False] * 4 + [True]
    assert masks["right lung"].any(0).tolist() == [True] + [False] * 4
    assert manifest.notes[-1] == "20 images; the published set has 138."


def test_montgomery_united_masks_and_missing_ones(tmp_path: Path) -> None:
    base = layouts.montgomery(tmp_path) / "MontgomerySet"
    (base / "ManualMask/leftMask/MCUCXR_0003_1.png").unlink()
    manifest = montgomery.read(tmp_path)
    assert "1 images have no mask of the left lung: MCUCXR_0003_1." in manifest.notes
    true = TrueMasks.of(manifest)
    assert dict(zip(true.labels, true.known("MCUCXR_0003_1"), strict=True)) == {"left lung": False, "right lung": True}
    shutil.rmtree(base / "ManualMask/leftMask")
    with pytest.raises(UserError, match="rightMask is there without its companion"):
        montgomery.read(tmp_path)
    (base / "ManualMask/rightMask").rename(base / "masks")
    united = montgomery.read(tmp_path)
    assert united.masks is not None
    assert united.masks["label"].unique().tolist() == ["lung"]
    shutil.rmtree(base / "masks")
    assert any("No masks" in note for note in montgomery.read(tmp_path).notes)


def test_the_kaggle_copy_of_montgomery_has_no_masks(tmp_path: Path) -> None:
    official = montgomery.read(layouts.montgomery(tmp_path))
    base = tmp_path / "MontgomerySet"
    (base / "CXR_png").rename(tmp_path / "images")
    shutil.rmtree(base)
    rows = [f"{name}.png,{20 + n},F,{'PTB' if name.endswith('1') else 'normal'}"
            for n, name in enumerate(official.images["image_id"])]  # fmt: skip
    layouts.text(tmp_path / "montgomery_metadata.csv", "study_id,age,gender,findings", *rows)
    copy = montgomery.read(tmp_path)
    assert copy.masks is None
    assert copy.images["split"].tolist() == official.images["split"].tolist()
    assert cells(copy, "MCUCXR_0003_1", "group:sex", "group:age") == ["F", "22"]


def test_a_folder_with_both_sets_is_told_apart(tmp_path: Path) -> None:
    layouts.shenzhen(tmp_path)
    layouts.image(tmp_path / "ChinaSet_AllFiles/CXR_png/MCUCXR_0001_0.png")
    manifest = shenzhen.read(tmp_path)
    assert len(manifest) == 24
    assert "1 images of Montgomery in the same folder were left out." in manifest.notes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda base: (base / "CXR_png").rename(base / "png"), r"folder CXR_png \(or images\) is missing"),
        (lambda base: layouts.image(base / "CXR_png/scan.png"), r"1 image\(s\) that are not named CHNCXR_0001_0: scan"),
        (lambda base: layouts.image(base / "CXR_png/b/CHNCXR_0001_0.png"), "image CHNCXR_0001_0 is there twice"),
        (
            lambda base: (base / "mask/CHNCXR_0003_0_mask.png").write_bytes(layouts.png(4, 4)),
            "mask .*CHNCXR_0003_0_mask.png has 4 x 4 pixels, the image 5 x 6",
        ),
    ],
)
def test_shenzhen_files_that_are_wrong(change: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    base = layouts.shenzhen(tmp_path) / "ChinaSet_AllFiles"
    change(base)
    with pytest.raises(UserError, match=message) as caught:
        shenzhen.read(tmp_path)
    assert shenzhen.SOURCE in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("study_id,sex", "image,sex", r"shenzhen_metadata.csv lacks the column\(s\) study_id"),
        ("CHNCXR_0002_0.png,", "CHNCXR_0099_0.png,", r"lacks 1 image\(s\) that are there: CHNCXR_0002_0"),
    ],
)
def test_shenzhen_tables_that_are_wrong(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = layouts.shenzhen_on_kaggle(tmp_path) / "shenzhen_metadata.csv"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        shenzhen.read(tmp_path)


def test_a_row_without_an_image_and_no_folder(tmp_path: Path) -> None:
    (layouts.shenzhen_on_kaggle(tmp_path) / "images/images/CHNCXR_0005_0.png").unlink()
    with pytest.raises(UserError, match=r"1 image\(s\) of shenzhen_metadata.csv have no file \(CHNCXR_0005_0\)"):
        shenzhen.read(tmp_path)
    for reader in (shenzhen, montgomery):
        with pytest.raises(UserError, match="there is no such folder"):
            reader.read(tmp_path / "nowhere")


def test_an_image_that_is_twice_in_the_table_counts_once_or_is_refused(tmp_path: Path) -> None:
    path = layouts.shenzhen_on_kaggle(tmp_path) / "shenzhen_metadata.csv"
    whole = path.read_text().rstrip("\n")
    before = shenzhen.read(tmp_path)
    path.write_text(f"{whole}\nCHNCXR_0002_0.png,Female,22,normal\n")
    manifest = shenzhen.read(tmp_path)
    assert manifest.fingerprint == before.fingerprint
    assert "1 repeated row(s) of shenzhen_metadata.csv count once." in manifest.notes
    path.write_text(f"{whole}\nCHNCXR_0002_0,Female,72,normal\n")
    with pytest.raises(
        UserError, match=r"shenzhen_metadata.csv has image CHNCXR_0002_0 twice, .* \(22, 72\)"
    ) as caught:
        shenzhen.read(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("write", "reader", "reading"),
    [
        (layouts.shenzhen, shenzhen, "ChinaSet_AllFiles/ClinicalReadings/CHNCXR_0002_0.txt"),
        (layouts.montgomery, montgomery, "MontgomerySet/ClinicalReadings/MCUCXR_0001_1.txt"),
    ],
)
def test_a_reading_that_cannot_be_opened_is_one_line(write: Any, reader: Any, reading: str, tmp_path: Path) -> None:
    path = write(tmp_path) / reading
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match=f"{reading} cannot be read") as caught:
        reader.read(tmp_path)
    assert reader.SOURCE in str(caught.value)
    assert "\n" not in str(caught.value)
