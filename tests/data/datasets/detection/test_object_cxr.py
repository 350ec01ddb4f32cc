"""Object-CXR's reader on a tiny copy of its layout, and on the phantom's."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.path import Path as Polygon

from cxrbench.data.annotations.masks import TrueMasks
from cxrbench.data.datasets.detection import object_cxr
from cxrbench.data.datasets.detection.object_cxr import LABEL
from cxrbench.data.decode.images import decode
from cxrbench.data.manifest import Manifest
from cxrbench.errors import UserError
from cxrbench.phantom.write import write
from support import detection_layouts as layouts
from support.same_rows import assert_same_rows


def changed(path: Path, old: str, new: str) -> None:
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new, 1))


def test_images_labels_splits_and_boxes_of_every_kind(tmp_path: Path) -> None:
    manifest = object_cxr.DATASET.read(layouts.object_cxr(tmp_path))
    assert {split: len(manifest.rows_of(split)) for split in ("train", "val", "test")} == {
        "train": 16, "val": 4, "test": 5,
    }  # fmt: skip
    images = manifest.images.set_index("image_id")
    assert (images.loc[[name.startswith("dev/") for name in images.index], "split"] == "test").all()
    assert images.loc["train/00002", LABEL] == 1
    assert images.loc["train/00003", LABEL] == 0
    assert manifest.boxes is not None
    assert layouts.boxes_of(manifest, "train/00000") == [(LABEL, 2, 3, 10, 6)]
    assert layouts.boxes_of(manifest, "train/00001") == [(LABEL, 20, 4, 10, 6)]
    assert layouts.boxes_of(manifest, "train/00002") == [(LABEL, 4, 5, 11, 16), (LABEL, 1, 1, 3, 3)]
    assert set(manifest.boxes["image_id"]) == set(images.index[images[LABEL].to_numpy() == 1])
    said = " ".join(manifest.notes)
    assert "20 images in train.csv; the published set has 8,000." in said
    assert "5 images in dev.csv; the published set has 1,000." in said
    assert "images in test/ have no published annotations" in said


def test_masks_are_the_shapes(tmp_path: Path) -> None:
    manifest = object_cxr.read(layouts.object_cxr(tmp_path))
    masks = TrueMasks.of(manifest)
    shown = {name: masks.native(name, layouts.HEIGHT, layouts.WIDTH)[0] for name in manifest.images["image_id"]}
    box = np.zeros((layouts.HEIGHT, layouts.WIDTH), bool)
    box[3:9, 2:12] = True
    np.testing.assert_array_equal(shown["train/00000"], box)
    y, x = np.mgrid[: layouts.HEIGHT, : layouts.WIDTH] + 0.5
    np.testing.assert_array_equal(shown["train/00001"], ((x - 25) / 5) ** 2 + ((y - 7) / 3) ** 2 <= 1)
    polygon = Polygon([(5, 5), (15, 8), (11, 21), (4, 17)]).contains_points(np.stack([x, y], axis=-1).reshape(-1, 2))
    both = polygon.reshape(x.shape) | ((abs(x - 2.5) < 1.5) & (abs(y - 2.5) < 1.5))
    np.testing.assert_array_equal(shown["train/00002"], both)
    assert not shown["train/00003"].any()
    assert manifest.masks_complete


def test_names_are_the_same_in_both_folders_and_the_readme_s_column_is_read(tmp_path: Path) -> None:
    before = object_cxr.read(layouts.object_cxr(tmp_path))
    assert {"train/00001", "dev/00001"} <= set(before.images["image_id"])
    for part in ("train", "dev"):
        changed(tmp_path / f"{part}.csv", "image_name", "image_path")
        changed(tmp_path / f"{part}.csv", "00001.jpg", f"/somewhere/{part}/00001.jpg")
    assert object_cxr.read(tmp_path).fingerprint == before.fingerprint


def test_files_that_no_table_has_are_said(tmp_path: Path) -> None:
    layouts.picture(layouts.object_cxr(tmp_path) / "train" / "77777.jpg")
    assert "1 files in train/ are not in train.csv and were left out." in object_cxr.read(tmp_path).notes


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("train.csv", "annotation", "shapes", r"train.csv lacks the column\(s\) annotation"),
        ("train.csv", "image_name", "file", "train.csv lacks the column image_name; it has file, annotation"),
        ("dev.csv", "00001.jpg", "00000.jpg", "dev.csv has an image twice: dev/00000"),
        ("dev.csv", "00001.jpg", "00009.jpg", r"1 image\(s\) of dev.csv have no file \(dev/00009\)"),
        ("train.csv", "0 2 3 12 9", "7 2 3 12 9", "train.csv, image train/00000: shape .* is of kind '7'"),
        ("train.csv", "0 2 3 12 9", "0 2 3 12", "image train/00000: shape .* has 3 numbers"),
        ("train.csv", "0 2 3 12 9", "0 200 300 1200 900", "box .* of image train/00000 lies outside of the image"),
    ],
)
def test_what_cannot_be_read_is_one_line(file: str, old: str, new: str, message: str, tmp_path: Path) -> None:
    changed(layouts.object_cxr(tmp_path) / file, old, new)
    with pytest.raises(UserError, match=message) as caught:
        object_cxr.read(tmp_path)
    assert "\n" not in str(caught.value)
    assert object_cxr.SOURCE in str(caught.value)


def test_a_missing_table_is_one_line(tmp_path: Path) -> None:
    (layouts.object_cxr(tmp_path) / "dev.csv").unlink()
    with pytest.raises(UserError, match=r"file dev\.csv is missing\. Source: .*Terms: "):
        object_cxr.read(tmp_path)


def test_shapes_over_the_edge_are_cut_and_flat_ones_left_out_with_a_note(tmp_path: Path) -> None:
    path = layouts.object_cxr(tmp_path) / "train.csv"
    changed(path, "00000.jpg,0 2 3 12 9", "00000.jpg,0 -4 3 12 9;0 30 20 44 31;2 5 5 5 9 5 7")
    manifest = object_cxr.read(tmp_path)
    assert layouts.boxes_of(manifest, "train/00000") == [(LABEL, 0, 3, 12, 6), (LABEL, 30, 20, 10, 10)]
    assert "2 box(es) of train.csv reach beyond their image and were cut at its edge." in manifest.notes
    assert "1 shape(s) of train.csv without an area were left out." in manifest.notes


def test_an_image_with_shapes_that_cannot_be_read_loses_its_masks_with_a_note(tmp_path: Path) -> None:
    (layouts.object_cxr(tmp_path) / "train" / "00002.jpg").write_bytes(b"x")
    (tmp_path / "train" / "00003.jpg").write_bytes(b"x")  # without shapes: nothing is lost
    manifest = object_cxr.read(tmp_path)
    assert manifest.masks is not None
    assert "train/00002" not in set(manifest.masks["image_id"])
    assert "1 image(s) cannot be read, so their masks are left out: train/00002." in manifest.notes


def test_the_phantom_has_bright_things_in_its_boxes_and_the_rows_of_the_blank_one(tmp_path: Path) -> None:
    counts = {"object-cxr_train": 12, "object-cxr_dev": 4}
    for folder, blank in (("drawn", False), ("blank", True)):
        write(tmp_path / folder, seed=1, images=counts, workers=1, blank=blank)
    manifest = object_cxr.read(tmp_path / "drawn" / "object-cxr")
    assert_same_rows(manifest, object_cxr.read(tmp_path / "blank" / "object-cxr"))
    assert len(manifest) == 16
    things = [(path, box) for path, name in images_of(manifest) for box in layouts.boxes_of(manifest, name)]
    assert len(things) > 10
    for path, (_, x, y, width, height) in things:
        assert np.asarray(decode(path))[round(y + height / 2), round(x + width / 2)] > 0.6


def images_of(manifest: Manifest) -> list[tuple[Path, str]]:
    return list(zip(manifest.paths(), manifest.images["image_id"], strict=True))
