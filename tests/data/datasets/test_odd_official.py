"""Official tables after a spreadsheet, a join or an editor has been at them."""

from pathlib import Path

import pytest

from cxrbench.data.datasets import nih, rsna, vindr
from cxrbench.data.manifest import Manifest
from cxrbench.engine.registry import load_dataset
from cxrbench.errors import UserError
from support import layouts


def never() -> Path:
    raise AssertionError("the phantom is not needed here")


def changed(path: Path, old: str, new: str) -> None:
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("id00,1.0,2.0,5.0,6.0,1", "id00,100,200,5.0,6.0,1", "box .* of image id00 ends outside of the image"),
        ("id01,,,,,0", "id01,1,2,3,4,0", r"1 box\(es\) of images whose Target is 0: id01"),
        ("id01,,,,,0", "id01,1,,,,0", r"1 box\(es\) of images whose Target is 0: id01"),
    ],
)
def test_rsna_boxes_that_cannot_be_meant(old: str, new: str, message: str, tmp_path: Path) -> None:
    changed(layouts.rsna(tmp_path) / "stage_2_train_labels.csv", old, new)
    with pytest.raises(UserError, match=message):
        rsna.read(tmp_path)


def test_rsna_boxes_in_fractions_are_refused(tmp_path: Path) -> None:
    path = layouts.rsna(tmp_path) / "stage_2_train_labels.csv"
    changed(path, "1.0,2.0,5.0,6.0,1", "0.1,0.2,0.5,0.6,1")
    changed(path, "8.0,2.0,4.0,6.0,1", "0.5,0.2,0.4,0.6,1")
    with pytest.raises(UserError, match=r"all 8 boxes lie within 0\.\.1"):
        rsna.read(tmp_path)


def test_rsna_repeated_box_rows_count_once(tmp_path: Path) -> None:
    row = "id03,8.0,2.0,4.0,6.0,1"
    changed(layouts.rsna(tmp_path) / "stage_2_train_labels.csv", row, f"{row}\n{row}")
    manifest = rsna.read(tmp_path)
    assert manifest.boxes is not None
    assert len(manifest.boxes) == 8
    assert "1 repeated box row(s) of stage_2_train_labels.csv count once." in manifest.notes


def test_vindr_boxes_of_unknown_images_are_said(tmp_path: Path) -> None:
    changed(layouts.vindr(tmp_path) / "annotations/annotations_test.csv", "e1,Card", "e9,Cardiomegaly,0,0,4,5\ne1,Card")
    manifest = vindr.read(tmp_path)
    assert manifest.boxes is not None
    assert "e9" not in set(manifest.boxes["image_id"])
    assert "Boxes of 1 image(s) that annotations_test.csv alone has were left out (e9)." in manifest.notes


def test_vindr_boxes_beyond_their_image_are_refused(tmp_path: Path) -> None:
    changed(layouts.vindr(tmp_path) / "annotations/annotations_test.csv", "0,0,4,5", "0,0,4,500")
    with pytest.raises(UserError, match=r"annotations_test.csv: box .* ends outside of the image"):
        vindr.read(tmp_path)


def test_vindr_does_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    path = layouts.vindr(tmp_path) / "annotations/annotations_train.csv"
    lines = path.read_text().splitlines()
    moved = [line.replace("1.5,2,9.5,12", f"{n % 5},2,{9 + n % 3},12") for n, line in enumerate(lines[1:])]

    def read(rows: list[str]) -> list[object]:
        path.write_text("\n".join([lines[0], *rows]) + "\n")
        boxes = vindr.read(tmp_path).boxes
        assert boxes is not None
        return boxes.to_numpy().tolist()

    assert read(moved) == read(moved[::-1]) == read(sorted(moved))


def test_nih_lists_with_a_byte_order_mark(tmp_path: Path) -> None:
    layouts.nih(tmp_path, lists=True)
    plain = nih.read(tmp_path)
    for name in ("test_list.txt", "train_val_list.txt"):
        path = tmp_path / name
        path.write_text("\ufeff" + path.read_text().replace("\n", "\r\n"))
    assert nih.read(tmp_path).fingerprint == plain.fingerprint
    (tmp_path / "test_list.txt").write_bytes(b"\xff\xfea\0")
    with pytest.raises(UserError, match=r"test_list\.txt is text in UTF-16"):
        nih.read(tmp_path)


def test_near_equal_patients_are_noted_in_official_tables(tmp_path: Path) -> None:
    root = layouts.nih(tmp_path / "nih", lists=True)
    changed(root / "Data_Entry_2017.csv", "00000020_000.png,Hernia,0,20,", "00000020_000.png,Hernia,0,01,")
    manifest = load_dataset("nih", tmp_path, never)
    assert any("all but the same identifier: 01 and 1" in note for note in manifest.notes)


def test_a_folder_that_links_to_itself_is_walked_once(tmp_path: Path) -> None:
    layouts.nih(tmp_path, lists=False)
    (tmp_path / "images" / "again").symlink_to(tmp_path / "images", target_is_directory=True)
    manifest: Manifest = nih.read(tmp_path)
    assert len(manifest) == 40
