"""MS-CXR's reader on a tiny copy of its layout: every version of its table, MIMIC's images here or there, and traps."""

import json
from pathlib import Path

import pytest
from PIL import Image

from cxrbench.data.datasets.detection import ms_cxr
from cxrbench.data.splits import shared_patients
from cxrbench.errors import UserError
from support import detection_layouts as layouts

NAME = "{:08x}-00000000-00000000-00000000-00000000"


def changed(path: Path, old: str, new: str, times: int = 1) -> None:
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new, times))


def test_boxes_phrases_splits_and_whose_they_are(tmp_path: Path) -> None:
    manifest = ms_cxr.DATASET.read(layouts.ms_cxr(tmp_path))
    images = manifest.images.set_index("image_id")
    assert images.loc[NAME.format(5), ["patient_id", "study_id", "split"]].tolist() == ["10000002", "50000005", "val"]
    assert images["split"].value_counts().to_dict() == {"train": 4, "test": 4, "val": 2}
    assert manifest.boxes is not None
    assert len(manifest.boxes) == 12
    assert layouts.boxes_of(manifest, NAME.format(2)) == [
        ("Pleural Effusion", 2, 3, 10, 6), ("Pneumonia", 1, 1, 5, 5), ("Pneumonia", 20, 1, 5, 5),
    ]  # fmt: skip
    assert set(manifest.boxes["phrase"]) == {"Small effusion.", "Bilateral, patchy"}
    assert manifest.lineage == ("ms-cxr", "mimic")
    assert ms_cxr.DATASET.patients == "mimic"
    assert "11 pairs of an image and a phrase; the published set has 1,162." in manifest.notes


def test_the_json_says_what_the_csv_says(tmp_path: Path) -> None:
    before = ms_cxr.read(layouts.ms_cxr(tmp_path))
    layouts.ms_cxr_as_coco(tmp_path)
    assert ms_cxr.read(tmp_path).fingerprint == before.fingerprint


def test_the_first_version_has_no_splits(tmp_path: Path) -> None:
    manifest = ms_cxr.read(layouts.ms_cxr(tmp_path, version="1.0.0"))
    assert "MS_CXR_Local_Alignment_v1.0.0.csv has no split column: 70/15/15 by patient." in manifest.notes
    assert shared_patients(manifest.images["patient_id"].tolist(), manifest.images["split"].tolist()) == []
    layouts.ms_cxr_as_coco(tmp_path)
    assert ms_cxr.read(tmp_path).images["split"].tolist() == manifest.images["split"].tolist()


def test_the_images_may_lie_in_mimic_s_own_folder(tmp_path: Path) -> None:
    root = layouts.ms_cxr(tmp_path / "ms-cxr", images=tmp_path / "mimic")
    manifest = ms_cxr.read(root)
    assert all(path.is_file() for path in manifest.paths())
    assert manifest.images["path"].iloc[0] == "../mimic/" + layouts.mimic_path(0, NAME.format(0))


def test_boxes_follow_images_of_another_size(tmp_path: Path) -> None:
    path = layouts.ms_cxr(tmp_path) / layouts.mimic_path(2, NAME.format(2))
    Image.open(path).resize((20, 15)).save(path)
    manifest = ms_cxr.read(tmp_path)
    assert layouts.boxes_of(manifest, NAME.format(2))[0] == ("Pleural Effusion", 1, 1.5, 5, 3)
    assert layouts.boxes_of(manifest, NAME.format(3))[0] == ("Pleural Effusion", 2, 3, 10, 6)
    assert any(note.startswith("1 image(s) are stored at another size") for note in manifest.notes)
    Image.open(path).resize((20, 20)).save(path)
    with pytest.raises(UserError, match="annotated at 40 x 30 pixels and is stored at 20 x 20"):
        ms_cxr.read(tmp_path)


def test_a_box_of_two_phrases_counts_once(tmp_path: Path) -> None:
    changed(layouts.ms_cxr(tmp_path) / "MS_CXR_Local_Alignment_v1.1.0.csv", ",20,1,5,5", ",1,1,5,5")
    changed(tmp_path / "MS_CXR_Local_Alignment_v1.1.0.csv", "Bilateral, patchy", "Left base")
    manifest = ms_cxr.read(tmp_path)
    assert manifest.boxes is not None
    assert "Left base | Bilateral, patchy" in set(manifest.boxes["phrase"])
    assert len(manifest.boxes) == 11
    assert any(note.startswith("1 box row(s) of") for note in manifest.notes)


def test_patients_of_a_later_split_are_left_out_of_the_earlier(tmp_path: Path) -> None:
    path = layouts.ms_cxr(tmp_path) / "MS_CXR_Local_Alignment_v1.1.0.csv"
    lines = path.read_text().splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith(NAME.format(1)))
    lines[at] = lines[at].replace(",train", ",test")
    path.write_text("\n".join(lines) + "\n")
    manifest = ms_cxr.read(tmp_path)
    assert NAME.format(0) not in set(manifest.images["image_id"])
    assert any(note.startswith("1 image(s) of patients who validate or are tested") for note in manifest.notes)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("label_text", "phrase", r"lacks the column\(s\) label_text"),
        ("Pneumonia", "Pneumonitis", "has the unknown category 'Pneumonitis'"),
        (",val", ",held out", "has the unknown split 'held out'"),
        ("files/p10/p10000000/", "p10000000/", "has the path .*, not files/pNN/pPATIENT/sSTUDY"),
        ("/p10000000/s50000000/", "/p10000000/s59999999/", r"1 image\(s\) are neither in files/ here nor in ../mimic"),
        (",2,3,10,6,", ",200,300,10,6,", "box .* lies outside of the image"),
        (",2,3,10,6,", ",2,3,ten,6,", "column w of .* is not all numbers"),
    ],
)
def test_what_cannot_be_read_is_one_line(old: str, new: str, message: str, tmp_path: Path) -> None:
    changed(layouts.ms_cxr(tmp_path) / "MS_CXR_Local_Alignment_v1.1.0.csv", old, new)
    with pytest.raises(UserError, match=message) as caught:
        ms_cxr.read(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_json_without_annotations_and_no_table_at_all_are_one_line(tmp_path: Path) -> None:
    layouts.ms_cxr(tmp_path)
    layouts.ms_cxr_as_coco(tmp_path)
    path = tmp_path / "MS_CXR_Local_Alignment_v1.1.0.json"
    path.write_text(json.dumps({"images": []}))
    with pytest.raises(UserError, match="is no COCO JSON with images, categories and annotations"):
        ms_cxr.read(tmp_path)
    path.unlink()
    with pytest.raises(UserError, match=r"file MS_CXR_Local_Alignment_v1\.1\.0\.csv or .* is missing"):
        ms_cxr.read(tmp_path)
