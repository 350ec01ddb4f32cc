"""VinDr-PCXR's reader on a tiny copy of its layout."""

from pathlib import Path

import numpy as np
import pytest

from cxrbench.data.datasets.detection import vindr_pcxr
from cxrbench.errors import UserError
from support import detection_layouts as layouts


def changed(path: Path, old: str, new: str) -> None:
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new, 1))


def test_diseases_come_from_the_columns_and_findings_from_the_boxes(tmp_path: Path) -> None:
    manifest = vindr_pcxr.DATASET.read(layouts.vindr_pcxr(tmp_path))
    assert {split: len(manifest.rows_of(split)) for split in ("train", "val", "test")} == {
        "train": 18, "val": 2, "test": 5,
    }  # fmt: skip
    assert len(manifest.labels) == len(set(manifest.labels)) == 15 + 36
    assert set(manifest.groups["macro"]) <= set(manifest.labels)
    targets = dict(zip(manifest.images["image_id"], manifest.targets(), strict=True))

    def positive(image: str) -> set[str]:
        return {manifest.labels[k] for k in np.flatnonzero(targets[image])}

    assert positive("t00") == {"No finding"}
    assert positive("t02") == {"Pneumonia", "Consolidation"}
    assert positive("t03") == {"Other lesion"}
    assert positive("e04") == {"Other disease", "Pneumonia", "Consolidation", "Cardiomegaly"}
    assert layouts.boxes_of(manifest, "e04") == [("Consolidation", 2, 3, 10, 6), ("Cardiomegaly", 1, 1, 14.5, 14.5)]
    assert layouts.boxes_of(manifest, "t00") == []
    assert "4 image(s) of image_labels_train.csv have none of its 15 labels, not even No finding." in manifest.notes
    assert "20 images in train/; the published set has 7,728." in manifest.notes


def test_tables_in_vindr_s_folder_are_read_and_odd_rows_are_said(tmp_path: Path) -> None:
    layouts.vindr_pcxr(tmp_path)
    before = vindr_pcxr.read(tmp_path).fingerprint
    (tmp_path / "annotations").mkdir()
    for path in list(tmp_path.glob("*.csv")):
        path.rename(tmp_path / "annotations" / path.name)
    assert vindr_pcxr.read(tmp_path).fingerprint == before
    path = tmp_path / "annotations" / "annotations_test.csv"
    changed(path, "No finding,,,,", "No finding,0,0,1,1")
    assert vindr_pcxr.read(tmp_path).fingerprint == before
    changed(path, "2,3,12,9", "2,3,19,9")
    assert any("1 box(es) of annotations_test.csv reach beyond" in note for note in vindr_pcxr.read(tmp_path).notes)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("image_labels_train.csv", "Brocho-pneumonia", "Broncho-pneumonia", r"lacks the column\(s\) Brocho-pneumonia"),
        ("image_labels_train.csv", "t01,", "t00,", "has an image twice: t00"),
        ("image_labels_test.csv", "e01,R2,0", "e01,R2,2", "has label values other than 0 and 1"),
        ("image_labels_test.csv", "e01,", "t01,", r"1 image\(s\) of image_labels_test.csv have no file \(t01\)"),
        (
            "annotations_train.csv",
            "Bronchial thickening",
            "Thick bronchi",
            "boxes of the unknown class 'Thick bronchi'",
        ),
        ("annotations_train.csv", "2,3,12,9", "2,3,,9", "row 4 has a box with a gap"),
        ("annotations_train.csv", "2,3,12,9", "200,3,212,9", "box .* lies outside of the image"),
    ],
)
def test_what_cannot_be_read_is_one_line(file: str, old: str, new: str, message: str, tmp_path: Path) -> None:
    changed(layouts.vindr_pcxr(tmp_path) / file, old, new)
    with pytest.raises(UserError, match=message) as caught:
        vindr_pcxr.read(tmp_path)
    assert "\n" not in str(caught.value)
    assert vindr_pcxr.SOURCE in str(caught.value)


def test_a_missing_table_is_one_line(tmp_path: Path) -> None:
    (layouts.vindr_pcxr(tmp_path) / "annotations_test.csv").unlink()
    with pytest.raises(UserError, match=r"file annotations_test\.csv or annotations/annotations_test\.csv is missing"):
        vindr_pcxr.read(tmp_path)
