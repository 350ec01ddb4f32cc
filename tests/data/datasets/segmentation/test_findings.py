"""CANDID-PTX and CheXlocalize on tiny folders in the official layouts, published traps included."""

import json
from pathlib import Path

import numpy as np
import pytest

from cxrbench.data.annotations.masks import TrueMasks
from cxrbench.data.datasets.segmentation import candid_ptx, chexlocalize
from cxrbench.data.manifest import Manifest
from cxrbench.errors import UserError
from support.mask_layouts import HEIGHT, WIDTH, block, png
from support.mask_layouts import candid_ptx as write_candid
from support.mask_layouts import chexlocalize as write_chexlocalize

VAL, LATERAL = "patient64541_study1_view1_frontal", "patient64541_study1_view2_lateral"


def known(manifest: Manifest, image: str) -> dict[str, bool]:
    truth = TrueMasks.of(manifest)
    return dict(zip(truth.labels, truth.known(image).tolist(), strict=True))


@pytest.mark.parametrize("suffix", ["", ".dcm"])
def test_candid_unites_a_labels_masks_and_lets_labels_overlap(suffix: str, tmp_path: Path) -> None:
    manifest = candid_ptx.read(write_candid(tmp_path, suffix=suffix))
    assert manifest.labels == ("Pneumothorax", "Rib fracture", "Chest tube")
    truth = TrueMasks.of(manifest)
    assert truth.labels == manifest.labels
    masks = truth.native("1.2.3.0", HEIGHT, WIDTH) == 1
    np.testing.assert_array_equal(masks[0], block(1, 1, 5, 3) | block(3, 2, 8, 6))
    np.testing.assert_array_equal(masks[2], block(2, 0, 4, 9))
    assert (masks[0] & masks[2]).any()
    assert truth.present("1.2.3.0").tolist() == [1, 0, 1]
    assert truth.present("1.2.3.4").tolist() == [0, 1, 0]
    of = manifest.images.set_index("image_id")
    assert of.loc["1.2.3.4", list(manifest.labels)].tolist() == [0, 1, 0]


def test_a_tube_that_nobody_has_outlined_is_unknown(tmp_path: Path) -> None:
    manifest = candid_ptx.read(write_candid(tmp_path))
    assert known(manifest, "1.2.3.3") == {"Pneumothorax": True, "Rib fracture": True, "Chest tube": False}
    assert np.isnan(manifest.images.set_index("image_id").loc["1.2.3.3", "Chest tube"])


def test_what_the_tables_contradict_themselves_in_is_left_out_with_a_note(tmp_path: Path) -> None:
    manifest = candid_ptx.read(write_candid(tmp_path))
    assert set(manifest.images["image_id"]) == {f"1.2.3.{n}" for n in (0, 1, 2, 3, 4, 5, 6, 7, 11)}
    assert set(manifest.images["patient_id"]) == {f"P{n:05d}" for n in (0, 1, 2, 3, 5)}
    notes = " ".join(manifest.notes)
    assert "1 image(s) that two patients have were left out: 1.2.3.8" in notes
    assert "2 image(s) with neither a mask nor -1, or with both were left out: 1.2.3.10, 1.2.3.9" in notes
    assert "1 image(s) of other tables are not in Pneumothorax_reports.csv" in notes
    assert "12 images in Pneumothorax_reports.csv; the published set has 19,237" in notes


def test_candid_knows_the_other_name_of_the_table_of_fractures_and_says_what_is_wrong(tmp_path: Path) -> None:
    fingerprint = candid_ptx.read(write_candid(tmp_path)).fingerprint
    (tmp_path / "acute_rib_fracture.csv").rename(tmp_path / "Rib_fracture_mask_rle.csv")
    assert candid_ptx.read(tmp_path).fingerprint == fingerprint
    tubes = tmp_path / "chest_tube.csv"
    good = tubes.read_text()
    tubes.write_text(good.replace("anon_SOPUID", "image"))
    with pytest.raises(UserError, match=r"chest_tube.csv lacks the column\(s\) anon_SOPUID; it has image"):
        candid_ptx.read(tmp_path)
    tubes.write_text(good + "1.2.3.5,5,200 3\n")
    with pytest.raises(UserError, match=r"Chest tube of image 1\.2\.3\.5: mask .* runs to pixel 203, beyond the 12 x"):
        candid_ptx.read(tmp_path)
    tubes.write_text(good)
    (tmp_path / "dataset" / "1.2.3.6").write_bytes(b"x")
    with pytest.raises(UserError, match=r"1 image\(s\) cannot be read, and masks need their sizes: 1\.2\.3\.6"):
        candid_ptx.read(tmp_path)


def test_chexlocalize_trains_on_the_validation_patients_and_tests_on_the_official_test_set(tmp_path: Path) -> None:
    manifest = chexlocalize.read(write_chexlocalize(tmp_path))
    of = manifest.images.set_index("image_id")
    assert (of["split"] == "test").tolist() == [name > "patient64741" for name in of.index]
    assert of.loc[VAL, "split"] == of.loc[LATERAL, "split"]
    assert of["split"].value_counts().to_dict() == {"train": 9, "val": 2, "test": 4}
    assert of.loc[[VAL, LATERAL], "view"].tolist() == ["AP", "L"]
    assert manifest.groups["macro"] == tuple(chexlocalize.OUTLINED.values())
    truth = TrueMasks.of(manifest)
    assert set(truth.labels) == set(manifest.groups["macro"])
    masks = dict(zip(truth.labels, truth.native(VAL, HEIGHT, WIDTH) == 1, strict=True))
    np.testing.assert_array_equal(masks["Lung Opacity"], block(2, 2, 7, 6))  # Airspace Opacity in the JSON
    np.testing.assert_array_equal(masks["Pleural Effusion"], block(5, 3, 9, 9))
    assert (masks["Lung Opacity"] & masks["Pleural Effusion"]).any()


def test_images_without_an_entry_have_empty_masks_and_labels_without_an_outline_unknown_ones(tmp_path: Path) -> None:
    manifest = chexlocalize.read(write_chexlocalize(tmp_path))
    truth = TrueMasks.of(manifest)
    assert (truth.present("patient64549_study1_view1_frontal") == 0).all()  # no entry, no finding
    unknown = known(manifest, "patient64542_study1_view1_frontal")  # labelled Edema, nothing drawn
    assert [label for label, yes in unknown.items() if not yes] == ["Edema"]
    notes = " ".join(manifest.notes)
    assert "2 finding(s) that the labels affirm are not outlined: unknown masks (Edema of patient64542" in notes
    assert "2 finding(s) that the labels deny are outlined: the masks are kept (Edema of patient64543" in notes
    assert "11 val images; the published set has 234" in notes


def test_contours_serve_where_there_are_no_run_lengths_and_the_first_download_has_no_test_set(tmp_path: Path) -> None:
    packed, drawn = (
        chexlocalize.read(write_chexlocalize(tmp_path / kind, contours=kind == "drawn")) for kind in ("packed", "drawn")
    )
    assert packed.masks is not None
    assert drawn.masks is not None
    assert packed.masks.equals(drawn.masks)
    old = chexlocalize.read(write_chexlocalize(tmp_path / "old", old=True))
    assert set(old.images["split"]) == {"train", "val", "test"}
    assert "test_labels.csv is not there: 60/20/20 of the official validation set" in " ".join(old.notes)


def test_another_chexlocalize_is_one_line(tmp_path: Path) -> None:
    root = write_chexlocalize(tmp_path)
    png(root / "CheXpert/val/patient64541/study1/view1_frontal.jpg", 1, height=6, width=5)
    with pytest.raises(UserError, match=r"is drawn on \[12, 10\] pixels .*, its image has \[6, 5\]: .*v1\.0-small"):
        chexlocalize.read(root)
    write_chexlocalize(tmp_path)
    path = root / "CheXlocalize" / "gt_segmentations_test.json"
    good = path.read_text()
    for old, new, message in (
        ("Edema", "Odema", "has the unknown finding 'Odema'"),
        ("patient64741", "patient99999", r"2 image\(s\) with masks are in no table: patient99999"),
        ('"counts": "', '"counts": "\\u00e9', "is no compressed run lengths"),
        ('"size": [12, 10]', '"size": 3.7', r"is drawn on 3\.7 pixels .*, its image has \[12, 10\]"),
        ("{", "[", "cannot be read as JSON"),
    ):
        path.write_text(good.replace(old, new))
        with pytest.raises(UserError, match=message) as caught:
            chexlocalize.read(root)
        assert "\n" not in str(caught.value)
    path.write_text(json.dumps([]))
    with pytest.raises(UserError, match="is no object of images"):
        chexlocalize.read(root)
    path.unlink()
    with pytest.raises(UserError, match=r"file gt_segmentations_test.json or gt_annotations_test.json is missing"):
        chexlocalize.read(root)
