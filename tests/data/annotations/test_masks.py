"""True masks: run lengths, files and boxes, at the image's own size, and one clear line for what does not fit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from cxrbench.data.annotations.masks import IGNORE, TrueMasks, no_masks, read_mask
from cxrbench.data.annotations.rle import encode_counts
from cxrbench.data.custom.dataset import read_csv
from cxrbench.data.decode.images import image_size
from cxrbench.data.manifest import Manifest
from cxrbench.errors import UserError

H, W = 6, 5


def manifest(root: Path, labels: tuple[str, ...] = ("Finding",), ids: str = "abcd", **tables: Any) -> Manifest:
    images = pd.DataFrame({"image_id": list(ids), "patient_id": list(ids), "study_id": list(ids), "view": "",
                           "split": "train", "path": [f"{i}.png" for i in ids], "bytes": 1})  # fmt: skip
    values = {label: [1.0, 0.0, 1.0, np.nan][: len(ids)] for label in labels}
    return Manifest("toy", root, images.assign(**values), labels, **tables)


def drawing(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((H, W)) < 0.4


def counts_table(masks: Mapping[str, np.ndarray]) -> pd.DataFrame:
    rows = [(name, "Finding", *mask.shape, encode_counts(mask)) for name, mask in masks.items()]
    return pd.DataFrame(rows, columns=["image_id", "label", "height", "width", "counts"])


def test_run_lengths_become_masks_and_several_rows_are_united(tmp_path: Path) -> None:
    one, two = drawing(1), drawing(2)
    table = pd.concat([counts_table({"a": one}), counts_table({"a": two, "c": np.zeros((H, W), bool)})])
    truth = TrueMasks.of(manifest(tmp_path, masks=table, masks_complete=True))
    assert (truth.labels, truth.exclusive) == (("Finding",), False)
    np.testing.assert_array_equal(truth.native("a", H, W)[0], one | two)
    assert not truth.native("b", H, W).any()
    assert [truth.present(name).tolist() for name in "abc"] == [[1], [0], [0]]


def test_a_stretched_mask_covers_its_image_whatever_the_size_of_either(tmp_path: Path) -> None:
    mask = drawing(3)
    Image.fromarray(np.where(mask, np.uint8(255), np.uint8(0))).save(tmp_path / "m.png")
    file = pd.DataFrame({"image_id": ["b"], "label": "Finding", "path": "m.png", "value": np.nan, "ignore": np.nan})
    table = pd.concat([counts_table({"a": mask}), file]).assign(stretched=True)
    truth = TrueMasks.of(manifest(tmp_path, masks=table))
    for height, width in ((3 * H, 2 * W), (H, W), (20, 7)):
        whole = torch.from_numpy(mask[None, None]).float()
        expected = F.interpolate(whole, (height, width), mode="nearest-exact")[0]
        for name in "ab":
            np.testing.assert_array_equal(truth.native(name, height, width), expected.numpy())
            assert truth.present(name).tolist() == [1]


def test_an_image_without_a_row_is_unknown_unless_the_masks_are_complete(tmp_path: Path) -> None:
    truth = TrueMasks.of(manifest(tmp_path, masks=counts_table({"a": drawing()})))
    assert (truth.native("b", H, W) == IGNORE).all()
    assert np.isnan(truth.present("b")).all()
    assert [truth.known(name).tolist() for name in "ab"] == [[True], [False]]


def test_boxes_of_one_label_are_masks_of_the_pixels_whose_centres_they_hold(tmp_path: Path) -> None:
    boxes = pd.DataFrame([("a", "Finding", 1.0, 2.4, 2.0, 2.2), ("a", "Finding", 3.6, 4.0, 9.0, 9.0)],
                         columns=["image_id", "label", "x", "y", "width", "height"])  # fmt: skip
    truth = TrueMasks.of(manifest(tmp_path, boxes=boxes))
    y, x = np.mgrid[:H, :W] + 0.5
    expected = np.zeros((H, W), bool)
    for left, top, width, height in boxes[["x", "y", "width", "height"]].to_numpy():
        expected |= (x >= left) & (x < left + width) & (y >= top) & (y < top + height)
    np.testing.assert_array_equal(truth.native("a", H, W)[0] == 1, expected)
    # b is negative; c is positive without a box, and d is not known to be either
    assert [truth.known(name).tolist() for name in "abcd"] == [[True], [True], [False], [False]]
    assert truth.present("a") == 1


def test_files_of_one_class_with_an_ignored_value(tmp_path: Path) -> None:
    values = np.random.default_rng(0).choice([0, 127, 200, 255], (H, W)).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "m.png")
    table = pd.DataFrame([("a", "Finding", "m.png", np.nan, 127.0)],
                         columns=["image_id", "label", "path", "value", "ignore"])  # fmt: skip
    truth = TrueMasks.of(manifest(tmp_path, masks=table))
    expected = np.where(values == 127, IGNORE, values > 0)
    np.testing.assert_array_equal(truth.native("a", H, W)[0], expected)
    assert truth.present("a") == 1


def test_a_map_of_class_indices_is_exclusive(tmp_path: Path) -> None:
    values = np.random.default_rng(0).choice([0, 1, 2, 3, 255], (H, W)).astype(np.uint8)
    values[values == 2] = 3  # the second class does not show
    palette = Image.fromarray(values, mode="P")
    palette.putpalette([7] * 768)
    palette.save(tmp_path / "m.png")
    table = pd.DataFrame([("a", name, "m.png", float(v), 255.0) for v, name in enumerate(["x", "y", "z"], 1)],
                         columns=["image_id", "label", "path", "value", "ignore"])  # fmt: skip
    truth = TrueMasks.of(manifest(tmp_path, labels=("z", "y"), masks=table))
    assert truth.exclusive
    assert truth.labels == ("z", "y", "x")  # the dataset's labels in their order, then others
    for plane, value in zip(truth.native("a", H, W), (3, 2, 1), strict=True):
        np.testing.assert_array_equal(plane, np.where(values == 255, IGNORE, values == value))
    assert truth.present("a").tolist() == [1, 0, 1]


def test_what_cannot_be_segmented_says_why(tmp_path: Path) -> None:
    boxes = pd.DataFrame({"image_id": ["a", "b"], "label": ["x", "y"], "x": 0, "y": 0, "width": 1, "height": 1})
    assert no_masks(manifest(tmp_path)) == "it has no masks"
    assert no_masks(manifest(tmp_path, boxes=boxes)) == "its boxes are of several findings: use toy:detection"
    assert no_masks(manifest(tmp_path, boxes=boxes.iloc[:1])) is None


def test_masks_that_do_not_fit_have_one_line(tmp_path: Path) -> None:
    table = counts_table({"a": drawing(), "b": drawing()})
    table.loc[1, "counts"] = "3 40"
    truth = TrueMasks.of(manifest(tmp_path, masks=table))
    with pytest.raises(UserError, match="mask of Finding of image a has 5 x 6 pixels, the image 6 x 5"):
        truth.native("a", W, H)
    with pytest.raises(UserError, match="mask of Finding of image b: mask counts add up to 43"):
        truth.native("b", H, W)
    boxes = pd.DataFrame({"image_id": ["a"], "label": "x", "x": 50, "y": 0, "width": 9, "height": 9})
    with pytest.raises(UserError, match=r"box .* of image a lies outside of its 5 x 6 pixels"):
        TrueMasks.of(manifest(tmp_path, boxes=boxes)).native("a", H, W)


def test_mask_files_that_cannot_be_read_have_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read mask .*none.png"):
        read_mask(tmp_path / "none.png")
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(UserError, match=r"cannot read mask .*torn.png"):
        read_mask(tmp_path / "torn.png")
    colour = np.random.default_rng(0).integers(0, 255, (4, 4, 3), np.uint8)
    Image.fromarray(colour).save(tmp_path / "colour.png")
    with pytest.raises(UserError, match="colour image"):
        read_mask(tmp_path / "colour.png")
    Image.fromarray(colour[..., :1].repeat(3, 2)).save(tmp_path / "gray.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "gray.png"), colour[..., 0])


def clinic(root: Path, toml: str, mask_size: tuple[int, int] = (H, W)) -> Path:
    """A CSV of ten images, all but the last with a mask file."""
    rows = ["image,mask,tall"]
    for n in range(10):
        Image.fromarray(np.full((H, W), 9, np.uint8)).save(root / f"{n}.png")
        Image.fromarray(np.full(mask_size, n % 3, np.uint8)).save(root / f"m{n}.png")
        rows.append(f"{n}.png,{f'm{n}.png' if n < 9 else ''},{n % 2}")
    (root / "own.csv").write_text("\n".join(rows) + "\n")
    (root / "own.toml").write_text(toml)
    return root / "own.csv"


def test_a_user_csv_with_masks_of_several_classes(tmp_path: Path) -> None:
    read = read_csv(clinic(tmp_path, "mask_classes = { lung = 1, heart = 2 }\nmask_ignore = 7"))
    truth = TrueMasks.of(read)
    assert (truth.labels, truth.exclusive) == (("lung", "heart"), True)
    assert [truth.present(f"{n}.png").tolist() for n in range(3)] == [[0, 0], [1, 0], [0, 1]]
    assert not truth.known("9.png").any()
    again = Manifest.load(saved) if (saved := tmp_path / "m.parquet") and read.save(saved) is None else None
    assert again is not None
    np.testing.assert_array_equal(TrueMasks.of(again).native("2.png", H, W), truth.native("2.png", H, W))


def test_a_user_csv_with_masks_of_one_class(tmp_path: Path) -> None:
    truth = TrueMasks.of(read_csv(clinic(tmp_path, 'mask_label = "lung"\nmasks_complete = true\nmask_ignore = 2')))
    assert (truth.labels, truth.exclusive) == (("lung",), False)
    assert truth.known("9.png").all()
    assert (truth.native("2.png", H, W) == IGNORE).all()


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ('mask_classes = { lung = "1" }', "need whole numbers"),
        ("mask_classes = 3", "need whole numbers"),
        ("mask_ignore = 1.5", "need whole numbers"),
        ("mask_classes = { lung = 1, heart = 1 }", "same pixel value"),
        ("mask_classes = { lung = 1 }\nmask_ignore = 1", "same pixel value"),
        ('masks_complete = "yes"', "true or false"),
        ('mask_label = "lung"\nmask_classes = { lung = 1 }', "not both"),
    ],
)
def test_mistakes_in_the_sidecar(tmp_path: Path, toml: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_csv(clinic(tmp_path, toml))


def test_a_mask_of_another_size_is_found_before_anything_is_computed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mask .*m0.png has 4 x 4 pixels, the image 5 x 6"):
        read_csv(clinic(tmp_path, "", mask_size=(4, 4)))


def test_image_size_reads_the_header_only(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((H, W), np.uint8)).save(tmp_path / "a.png")
    assert image_size(tmp_path / "a.png") == (H, W)
    with pytest.raises(UserError, match=r"(?i)no such file"):
        image_size(tmp_path / "b.png")
