"""COVID-QU-Ex and CXLSeg on tiny folders in the official layouts, published traps included."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrbench.data.annotations.masks import TrueMasks
from cxrbench.data.datasets.segmentation import covid_qu_ex, cxlseg
from cxrbench.data.decode.images import decode
from cxrbench.errors import UserError
from support.mask_layouts import HEIGHT, WIDTH, block, mask_png
from support.mask_layouts import covid_qu_ex as write_covid
from support.mask_layouts import cxlseg as write_cxlseg


@pytest.mark.parametrize("twice", [True, False])
def test_lung_masks_are_everywhere_and_infection_masks_where_they_were_drawn(twice: bool, tmp_path: Path) -> None:
    manifest = covid_qu_ex.read(write_covid(tmp_path, twice=twice))
    assert (manifest.kind, manifest.labels) == ("multiclass", ("COVID-19", "Non-COVID", "Normal"))
    assert manifest.targets().sum(1).tolist() == [1] * len(manifest)
    truth = TrueMasks.of(manifest)
    assert truth.labels == ("Lung", "Infection")
    assert not truth.exclusive
    masks = truth.native("train_COVID-19_covid_1", HEIGHT, WIDTH)
    np.testing.assert_array_equal(masks[0] == 1, block(1, 1, 10, 8))
    np.testing.assert_array_equal(masks[1] == 1, block(3, 2, 6, 6))
    assert truth.known("train_COVID-19_covid_3").tolist() == [True, False]
    assert truth.present("train_Non-COVID_non_COVID (0)").tolist() == [1, 0]  # outlined, and nothing there


def test_a_patient_in_two_official_splits_stays_in_the_later_one(tmp_path: Path) -> None:
    manifest = covid_qu_ex.read(write_covid(tmp_path))
    assert manifest.images["split"].value_counts().to_dict() == {"train": 17, "val": 6, "test": 6}
    of = manifest.images[manifest.images["patient_id"] == "sub-S00042"]
    assert of["image_id"].tolist() == ["test_COVID-19_sub-S00042_ses-E00008_run-1_bp-chest_vp-ap_dx"]
    assert any("1 image(s), whose patients are in a later split, were left out" in note for note in manifest.notes)


def test_infection_images_in_another_split_stay_where_the_lung_data_has_them(tmp_path: Path) -> None:
    manifest = covid_qu_ex.read(write_covid(tmp_path))
    assert TrueMasks.of(manifest).known("train_Normal_Normal (1)").all()
    notes = " ".join(manifest.notes)
    assert "1 image(s) of Infection Segmentation Data are in another split of Lung Segmentation Data" in notes
    assert "18 images in Infection Segmentation Data; the published set has 5,826" in notes
    assert "30 images; the published set has 33,920" in notes
    other = tmp_path / "Infection Segmentation Data" / "Infection Segmentation Data" / "Val" / "Normal"
    for kind in ("images", "lung masks", "infection masks"):
        shutil.copy(other / kind / "Normal (6).png", other / kind / "Normal (99).png")
    assert "1 image(s) of Infection Segmentation Data are none of Lung" in " ".join(covid_qu_ex.read(tmp_path).notes)


def test_the_infection_data_alone_has_its_own_published_split(tmp_path: Path) -> None:
    manifest = covid_qu_ex.read(write_covid(tmp_path, lungs=False))
    truth = TrueMasks.of(manifest)
    assert all(truth.known(name).all() for name in manifest.images["image_id"])
    assert "test_Normal_Normal (1)" in set(manifest.images["image_id"])
    assert "Lung Segmentation Data is not there: the infection data alone, in its own split" in " ".join(manifest.notes)
    assert "18 images; the published set has 5,826" in " ".join(manifest.notes)


def test_what_is_missing_of_covid_qu_ex_or_does_not_fit_is_one_line(tmp_path: Path) -> None:
    place = write_covid(tmp_path) / "Lung Segmentation Data" / "Lung Segmentation Data" / "Val" / "Normal"
    mask_png(place / "lung masks" / "Normal (6).png", np.ones((HEIGHT + 1, WIDTH), bool))
    with pytest.raises(UserError, match="has 10 x 13 pixels, the image 10 x 12"):
        covid_qu_ex.read(tmp_path)
    (place / "lung masks" / "Normal (6).png").unlink()
    with pytest.raises(UserError, match=r"1 image\(s\) of .*Val/Normal/images have no mask .*: Normal \(6\)"):
        covid_qu_ex.read(tmp_path)
    shutil.rmtree(place)
    with pytest.raises(UserError, match=r"there are no images in .*Val/Normal/images"):
        covid_qu_ex.read(tmp_path)


def test_the_segmented_pictures_of_cxlseg_give_their_mask_away_and_that_is_said(tmp_path: Path) -> None:
    manifest = cxlseg.read(write_cxlseg(tmp_path))
    truth = TrueMasks.of(manifest)
    for name, path in zip(manifest.images["image_id"], manifest.paths(), strict=True):
        image = np.asarray(decode(path))
        np.testing.assert_array_equal(image > 0.1, truth.native(name, *image.shape)[0] == 1)
    assert any("the mask can be read off" in note for note in manifest.notes)
    assert manifest.images["split"].value_counts().to_dict() == {"train": 9, "val": 2, "test": 2}
    assert any("1 of 10 train images, whose patients are in a later split, were left out" in n for n in manifest.notes)


def test_the_originals_are_segmented_where_they_are_there(tmp_path: Path) -> None:
    manifest = cxlseg.read(write_cxlseg(tmp_path, originals=True))
    assert all(path.startswith("mimic-cxr-jpg/files/p10/") for path in manifest.images["path"])
    assert any("The images are MIMIC-CXR-JPG's" in note for note in manifest.notes)
    masks = TrueMasks.of(manifest).native("00000003-0-0-0-0", 12, 9)[0]
    small = np.asarray(Image.open(next(tmp_path.glob("files/*/*/*/*-mask.jpg")))) > 127
    stretched = np.asarray(Image.fromarray(small).resize((9, 12), Image.Resampling.NEAREST))
    np.testing.assert_array_equal(masks == 1, stretched)
    manifest.paths()[2].unlink()
    with pytest.raises(UserError, match=r"1 image\(s\) of CXLSeg-split.csv: originals in mimic-cxr-jpg/files have no"):
        cxlseg.read(tmp_path)


def test_another_cxlseg_is_one_line(tmp_path: Path) -> None:
    path = write_cxlseg(tmp_path) / "CXLSeg-split.csv"
    good = path.read_text()
    for old, new, message in (
        ("dicom_id", "DicomPath", r"lacks the column\(s\) dicom_id"),
        ("validate", "holdout", "has the unknown split 'holdout'"),
        ("00000004-0", "00000003-0", "has an image twice"),
        ("0000000d-0", "0000000e-0", r"1 image\(s\) of CXLSeg-split.csv: masks DICOM-mask.jpg have no file \(0000000e"),
    ):
        path.write_text(good.replace(old, new))
        with pytest.raises(UserError, match=message):
            cxlseg.read(tmp_path)
