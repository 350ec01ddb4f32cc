"""MIMIC's lungs and zones on a tiny download, and the masks of lung pictures against known shapes."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrbench.data.annotations.masks import Box, TrueMasks
from cxrbench.data.datasets.segmentation import mimic_lungs
from cxrbench.data.datasets.segmentation.lung_pictures import box_mask, lung_mask, two_lungs
from cxrbench.errors import UserError
from support.mask_layouts import HEIGHT, WIDTH, block
from support.mask_layouts import mimic_lungs as write

ID = "{:08x}-aaaaaaaa-bbbbbbbb-cccccccc-dddddddd".format
RIGHT, LEFT = block(1, 1, 11, 4), block(2, 6, 10, 9)


@pytest.mark.parametrize("unpacked", [True, False])
def test_a_zone_is_its_box_within_the_lung_of_its_side(unpacked: bool, tmp_path: Path) -> None:
    manifest = mimic_lungs.read(write(tmp_path, unpacked=unpacked))
    truth = TrueMasks.of(manifest)
    assert truth.labels[:2] == ("Right lung", "Left lung")
    assert truth.labels[2:] == tuple(f"{s} {h} lung zone" for s in ("Right", "Left") for h in ("upper", "mid", "lower"))
    masks = dict(zip(truth.labels, truth.native(ID(0), HEIGHT, WIDTH) == 1, strict=True))
    np.testing.assert_array_equal(masks["Right lung"], RIGHT)
    np.testing.assert_array_equal(masks["Left lung"], LEFT)
    np.testing.assert_array_equal(masks["Right upper lung zone"], RIGHT & block(0, 0, 4, WIDTH))
    np.testing.assert_array_equal(masks["Left lower lung zone"], LEFT & block(8, 0, HEIGHT, WIDTH))
    zones = [mask for label, mask in masks.items() if "zone" in label]
    np.testing.assert_array_equal(np.sum(zones, axis=0), RIGHT | LEFT)  # they tile the lungs, once
    twice = truth.native(ID(0), 2 * HEIGHT, 2 * WIDTH)  # at the size of MIMIC's image
    np.testing.assert_array_equal(twice[0] == 1, np.kron(RIGHT, np.ones((2, 2), bool)))


def test_patients_are_mimics_and_a_zone_without_a_box_is_unknown(tmp_path: Path) -> None:
    manifest = mimic_lungs.read(write(tmp_path))
    assert set(manifest.images["patient_id"]) == {f"{10_000_100 + n}" for n in range(10)}
    assert set(manifest.images["study_id"]) == {f"{50_000_000 + n}" for n in range(10)}
    assert manifest.images["split"].value_counts().to_dict() == {"train": 7, "val": 1, "test": 2}
    truth = TrueMasks.of(manifest)
    unknown = dict(zip(truth.labels, ~truth.known(ID(2)), strict=True))
    assert [label for label, yes in unknown.items() if yes] == ["Left mid lung zone"]
    assert any(f"1 image(s) lack a box of a zone, which is unknown: {ID(2)}" in note for note in manifest.notes)


def test_without_scene_graphs_there_are_lungs_alone_and_jpegs_of_lungs_are_read(tmp_path: Path) -> None:
    manifest = mimic_lungs.read(write(tmp_path, jpeg=True, zones=False))
    truth = TrueMasks.of(manifest)
    assert truth.labels == ("Right lung", "Left lung")
    assert any("lungs without zones" in note for note in manifest.notes)
    found = truth.native(ID(0), HEIGHT, WIDTH) == 1
    assert (found[0] & RIGHT).sum() / (found[0] | RIGHT).sum() > 0.9


def test_lungs_that_touch_are_cut_between_their_boxes(tmp_path: Path) -> None:
    masks = TrueMasks.of(mimic_lungs.read(write(tmp_path))).native(ID(1), HEIGHT, WIDTH) == 1
    np.testing.assert_array_equal(masks[0], (RIGHT | block(4, 1, 6, 9)) & block(0, 0, HEIGHT, 5))
    assert not (masks[0] & masks[1]).any()
    assert (masks[0] | masks[1])[4:6, 1:9].all()


def test_another_download_of_lungs_is_one_line(tmp_path: Path) -> None:
    root = write(tmp_path)
    pictures = root / "lung-segment-mimic-cxr-1.0.0"
    rest = pictures / f"{ID(3)}_rest.png"
    rest.rename(pictures / f"{ID(3)}_b.png")
    (pictures / f"{ID(3)}_lung.png").rename(pictures / f"{ID(3)}_a.png")
    with pytest.raises(UserError, match=f"which picture of {ID(3)} is of the lungs is not clear"):
        mimic_lungs.read(root)
    (pictures / f"{ID(3)}_a.png").unlink()
    Image.fromarray(np.full((9, 9), 200, np.uint8)).save(pictures / f"{ID(3)}_b.png")
    with pytest.raises(UserError, match=r"_b.png is no picture of lungs on black: \d+% of it is not black"):
        mimic_lungs.read(root)
    (pictures / f"{ID(3)}_b.png").unlink()
    assert len(mimic_lungs.read(root)) == 9
    archive = root / "chest-imagenome-dataset-1.0.0" / "silver_dataset" / "scene_graph.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr(f"scene_graph/{ID(0)}_SceneGraph.json", json.dumps({"objects": [{"bbox_name": "left lung"}]}))
    with pytest.raises(UserError, match=r"scene_graph.zip: .* is no scene graph with objects that have original_x1"):
        mimic_lungs.read(root)
    archive.write_bytes(b"x")
    with pytest.raises(UserError, match=r"scene_graph.zip cannot be read"):
        mimic_lungs.read(root)
    archive.unlink()
    image = next(root.glob("files/*/*/*/*.jpg"))
    image.rename(root / "files" / image.name)
    with pytest.raises(UserError, match=r"1 image\(s\) do not lie in files/p10/p10000032/s50414267/"):
        mimic_lungs.read(root)


def test_holes_are_filled_and_specks_dropped(tmp_path: Path) -> None:
    lungs = np.zeros((60, 60), np.uint8)
    lungs[10:50, 5:25], lungs[12:50, 34:54] = 150, 90
    expected = lungs > 0
    lungs[20:23, 10:14] = 0  # black within a lung
    lungs[2, 30] = 99
    Image.fromarray(lungs).save(tmp_path / "a.png")
    np.testing.assert_array_equal(lung_mask(tmp_path / "a.png"), expected)
    sides = two_lungs(expected, {}, (60, 60))
    np.testing.assert_array_equal(sides["right"], expected & (np.arange(60) < 30))
    crossing = expected.copy()
    crossing[40:44, 25:32] = True  # of the right lung, over the middle: a piece is not cut
    np.testing.assert_array_equal(two_lungs(crossing, {}, (60, 60))["right"], crossing & (np.arange(60) < 33))


def test_a_box_in_another_grid_has_the_pixels_whose_centres_it_holds() -> None:
    found = box_mask(Box(10, 20, 30, 40), (100, 200), (10, 10))
    y, x = (np.arange(10) + 0.5) * 10, (np.arange(10) + 0.5) * 20
    np.testing.assert_array_equal(found, ((y >= 20) & (y < 60))[:, None] & ((x >= 10) & (x < 40)))
