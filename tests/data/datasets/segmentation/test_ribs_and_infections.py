"""VinDr-RibCXR and QaTa-COV19 on tiny folders in the official layout, published traps included."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrbench.data.annotations.masks import TrueMasks
from cxrbench.data.datasets.segmentation import qata, vindr_ribcxr
from cxrbench.errors import UserError
from support.mask_layouts import HEIGHT, WIDTH, block, mask_png, outline
from support.mask_layouts import qata as write_qata
from support.mask_layouts import vindr_ribcxr as write_ribs


def edited(root: Path, change: Any) -> None:
    path = root / "train" / "Vindr_RibCXR_train_mask.json"
    table = json.loads(path.read_text())
    path.write_text(json.dumps(change(table) or table))


def test_ribs_are_labels_of_their_own_and_may_overlap(tmp_path: Path) -> None:
    manifest = vindr_ribcxr.read(write_ribs(tmp_path))
    assert manifest.images["split"].value_counts().to_dict() == {"train": 18, "val": 2, "test": 4}
    assert all("_val_" in name for name in manifest.images["image_id"][manifest.images["split"] == "test"])
    truth = TrueMasks.of(manifest)
    assert truth.labels == tuple(rib for rib in vindr_ribcxr.RIBS if rib != "L10")  # nowhere outlined
    assert not truth.exclusive
    masks = truth.native("VinDr_RibCXR_train_000", HEIGHT, WIDTH)
    np.testing.assert_array_equal(masks[0] == 1, block(0, 1, 2, 8))
    np.testing.assert_array_equal(masks[1] == 1, block(1, 1, 3, 8))
    assert ((masks[0] == 1) & (masks[1] == 1)).any()
    assert any("24 rib(s) of 24 image(s) are not outlined" in note for note in manifest.notes)
    assert any("24 images; the published set has 245" in note for note in manifest.notes)


def test_a_rib_that_is_not_outlined_is_an_empty_mask(tmp_path: Path) -> None:
    edited(write_ribs(tmp_path), lambda t: t["R1"].update({"0": "None", "1": None}))
    truth = TrueMasks.of(vindr_ribcxr.read(tmp_path))
    for name in ("VinDr_RibCXR_train_000", "VinDr_RibCXR_train_001"):
        assert truth.known(name).all()
        assert truth.present(name)[0] == 0
        assert not truth.native(name, HEIGHT, WIDTH)[truth.labels.index("R1")].any()


def test_ribs_are_found_wherever_the_archive_was_unpacked(tmp_path: Path) -> None:
    root = write_ribs(tmp_path / "a")
    moved = tmp_path / "b"
    for part in ("train", "val"):
        shutil.copytree(root / part / "img", moved / "Data" / part / "img")
        (moved / "Annotations" / part).mkdir(parents=True)
        name = f"Vindr_RibCXR_{part}_mask.json"
        shutil.copy(root / part / name, moved / "Annotations" / part / name)
    assert len(vindr_ribcxr.read(moved)) == 24


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {"images": []}, "no object of columns by row"),
        (lambda t: t.pop("L3") and None, r"lacks the column\(s\) L3"),
        (lambda t: t["R7"].pop("5") and None, r"has no R7 for row\(s\) 5"),
        (
            lambda t: t["R7"].update({"5": outline(0, 0, 3, 3)[:2]}),
            r"rib R7 of image VinDr_RibCXR_train_005 has 2 point",
        ),
        (lambda t: t["R7"].update({"5": outline(50, 50, 60, 60)}), "lies outside of its 10 x 12 image"),
        (lambda t: t["R7"].update({"5": "left"}), "is no list of points x, y"),
        (lambda t: t["img"].update({"5": t["img"]["4"]}), "has an image twice: VinDr_RibCXR_train_004"),
        (lambda t: t["img"].update({"5": "data/train/img/x.png"}), r"1 image\(s\) of .*json have no file \(x\)"),
        (lambda t: {key: {} for key in t}, "has no rows"),
    ],
)
def test_another_json_is_one_line(change: Any, message: str, tmp_path: Path) -> None:
    edited(write_ribs(tmp_path), change)
    with pytest.raises(UserError, match=message) as caught:
        vindr_ribcxr.read(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_image_that_cannot_be_read_is_named_for_outlines_need_its_size(tmp_path: Path) -> None:
    (write_ribs(tmp_path) / "val/img/VinDr_RibCXR_val_002.png").write_bytes(b"x")
    with pytest.raises(UserError, match=r"1 image\(s\) cannot be read, .*VinDr_RibCXR_val_002"):
        vindr_ribcxr.read(tmp_path)


@pytest.mark.parametrize("base", ["", "QaTa-COV19-v2", "QaTa-COV19/QaTa-COV19-v2"])
def test_qata_uses_the_official_test_set_without_its_patients_elsewhere(base: str, tmp_path: Path) -> None:
    manifest = qata.read(write_qata(tmp_path, base))
    assert manifest.images["split"].value_counts().to_dict() == {"train": 17, "val": 2, "test": 5}
    of = manifest.images.set_index("image_id")
    assert (of.loc[[name.startswith("test_") for name in of.index], "split"] == "test").all()
    assert not any(name.startswith("train_sub-S00900") for name in of.index)
    pair = of[of["patient_id"] == "sub-S00008"]
    assert len(pair) == 2
    assert len(set(pair["split"])) == 1
    assert any("1 image(s) of Train Set, whose patients are in Test Set, were left out" in n for n in manifest.notes)
    assert any("1 mask(s) of Train Set are of no image: mask_covid_77" in n for n in manifest.notes)
    assert any("20 images in Train Set; the published set has 7,145" in n for n in manifest.notes)
    truth = TrueMasks.of(manifest)
    assert truth.labels == ("Infection",)
    np.testing.assert_array_equal(truth.native("train_covid_2", HEIGHT, WIDTH)[0] == 1, block(2, 3, 5, 6))


def test_qata_version_1_a_missing_mask_and_a_mask_of_another_size_are_refused(tmp_path: Path) -> None:
    base = write_qata(tmp_path / "v2", "") / "Train Set"
    mask_png(base / "Ground-truths" / "mask_covid_0.png", np.ones((HEIGHT, WIDTH + 1), bool))
    with pytest.raises(UserError, match="has 11 x 12 pixels, the image 10 x 12"):
        qata.read(tmp_path / "v2")
    (base / "Ground-truths" / "mask_covid_0.png").unlink()
    with pytest.raises(UserError, match=r"1 image\(s\) of Train Set/Images have no mask .*: covid_0"):
        qata.read(tmp_path / "v2")
    mask_png(tmp_path / "v1" / "QaTa-COV19-v2" / "Ground-truths" / "mask_covid_1.png", block(0, 0, 1, 1))
    with pytest.raises(UserError, match="is version 1, or resorted"):
        qata.read(tmp_path / "v1")
