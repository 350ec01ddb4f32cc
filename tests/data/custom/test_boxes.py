"""A user's own boxes: one row per box, or COCO's JSON."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cxrbench.data.custom.dataset import read_csv
from cxrbench.engine.registry import load_dataset, parse_tasks
from cxrbench.errors import UserError

HEADER = "image,patient,split,label,x,y,width,height"
SPLITS = ["train"] * 4 + ["val", "test", "test"]


def images(folder: Path, count: int = 7) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        Image.fromarray(np.full((40, 30), n, np.uint8)).save(folder / f"{n}.png")


def rows(*extra: str) -> list[str]:
    """Image 0 has a nodule and a mass, image 1 two nodules, image 5 (test) a mass, the others nothing."""
    boxes = {0: ["Nodule,1,2,3,4", "Mass,5,6,7,8"], 1: ["Nodule,0,0,30,40", "Nodule,1,1,2,2"], 5: ["Mass,2.5,3,4,5"]}
    return [
        f"{n}.png,p{n},{split},{box}" for n, split in enumerate(SPLITS) for box in boxes.get(n, [",,,,"])
    ] + list(extra)  # fmt: skip


def written(folder: Path, lines: list[str], header: str = HEADER) -> Path:
    images(folder)
    path = folder / "boxes.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def coco(folder: Path, change: Any = None) -> Path:
    images(folder / "images")
    content = {
        "images": [{"id": 10 + n, "file_name": f"{n}.png", "split": split} for n, split in enumerate(SPLITS)],
        "categories": [{"id": 3, "name": "Nodule"}, {"id": 4, "name": "Mass"}],
        "annotations": [
            {"id": 1, "image_id": 10, "category_id": 3, "bbox": [1, 2, 3, 4]},
            {"id": 2, "image_id": 10, "category_id": 4, "bbox": [5, 6, 7, 8], "iscrowd": 0},
            {"id": 3, "image_id": 11, "category_id": 3, "bbox": [0, 0, 30, 40]},
            {"id": 4, "image_id": 15, "category_id": 4, "bbox": [2.5, 3, 4, 5]},
            {"id": 5, "image_id": 12, "category_id": 4, "bbox": [0, 0, 9, 9], "iscrowd": 1},
        ],
    }
    if change:
        change(content)
    (folder / "instances.json").write_text(json.dumps(content))
    return folder / "instances.json"


def boxes_of(path: Path) -> list[tuple[object, ...]]:
    boxes = read_csv(path).boxes
    assert boxes is not None
    return [tuple(row) for row in boxes.to_numpy().tolist()]


def test_a_csv_with_one_row_per_box(tmp_path: Path) -> None:
    manifest = read_csv(written(tmp_path, rows()))
    assert (len(manifest), manifest.labels, manifest.kind) == (7, ("Mass", "Nodule"), "multilabel")
    assert manifest.targets().tolist() == [[1, 1], [0, 1], [0, 0], [0, 0], [0, 0], [1, 0], [0, 0]]
    assert manifest.images["patient_id"].tolist() == [f"p{n}" for n in range(7)]
    assert manifest.images["split"].tolist() == SPLITS
    assert boxes_of(tmp_path / "boxes.csv")[:2] == [("0.png", "Nodule", 1, 2, 3, 4), ("0.png", "Mass", 5, 6, 7, 8)]
    assert len(boxes_of(tmp_path / "boxes.csv")) == 5


def test_corners_and_a_single_finding(tmp_path: Path) -> None:
    lines = ["0.png,1,1,2,4,6", "0.png,1,0,0,9,9", "1.png,0,,,,", "2.png,0,,,,", "3.png,0,,,,"]
    path = written(tmp_path, lines, "image,Target,X min,y_min,x_max,y_max")
    assert boxes_of(path)[0] == ("0.png", "Target", 1, 2, 3, 4)
    assert read_csv(path).images["Target"].tolist() == [1, 0, 0, 0]


def test_coco_json(tmp_path: Path) -> None:
    manifest = load_dataset(str(coco(tmp_path / "set")), None, lambda: tmp_path)
    assert (manifest.name, manifest.labels) == ("instances", ("Mass", "Nodule"))
    assert all(path.is_file() for path in manifest.paths())
    assert manifest.targets().tolist() == [[1, 1], [0, 1], [0, 0], [0, 0], [0, 0], [1, 0], [0, 0]]
    assert manifest.images["split"].tolist() == SPLITS
    assert boxes_of(tmp_path / "set" / "instances.json")[-1] == ("images/5.png", "Mass", 2.5, 3, 4, 5)
    assert "1 crowd annotations were left out." in manifest.notes


def test_a_json_is_a_dataset_on_the_command_line() -> None:
    assert parse_tasks("./a.json:detection,b.json") == [("./a.json", "detection"), ("b.json", None)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("6.png,p6,test,Mass,1,1,0,5", r"boxes.csv: box \(.*\) of Mass of image 6.png has no area"),
        ("6.png,p6,test,Mass,1,1,3,55", r"image 6.png ends outside of the image, which has 30 x 40 pixels"),
        ("6.png,p6,test,Mass,-9,1,13,5", "begins outside of the image"),
        ("6.png,p6,test,Mass,1,1,3,", "row 11: fill all of x, y, width, height"),
        ("6.png,p6,test,,1,1,3,3", "row 11 has a box without a label in column label"),
        ("6.png,p6,test,Mass,1,one,3,3", "x, y, width, height are not all numbers"),
        ("6.png,p7,test,Mass,1,1,3,3", "row 11: image 6.png has another patient than in row 10"),
        ("9.png,p9,test,Mass,1,1,3,3", r"names 1 file\(s\) that are not there \(9.png\)"),
    ],
)
def test_bad_rows_have_one_line(line: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as error:
        read_csv(written(tmp_path, rows(line)))
    assert "\n" not in str(error.value)


def test_boxes_need_a_label_column(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no column 'label'"):
        read_csv(written(tmp_path, ["0.png,1,2,3,4"], "image,x,y,width,height"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["annotations"][0].update(image_id=99), "annotation 1 has the unknown image_id 99"),
        (lambda c: c["annotations"][0].update(category_id=9), "annotation 1 has the unknown category_id 9"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 3]), "annotation 1 has a bbox of 3 numbers"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 3, 0]), "has no area"),
        (lambda c: c["annotations"][0].update(bbox=[20, 2, 30, 3]), "ends outside of the image"),
        (lambda c: c["images"][0].update(width=60, height=80), "says that image images/0.png has 60 x 80 pixels, its"),
        (lambda c: c["images"][1].update(id=10), "two image entries with the id 10"),
        (lambda c: c["images"][0].update(file_name="\ud800.png"), "control characters in the name"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 3, 10**400]), "not in COCO's format .*OverflowError"),
        (lambda c: c.pop("categories"), "not in COCO's format .*categories"),
        (lambda c: c["images"][0].pop("file_name"), "not in COCO's format .*file_name"),
        (lambda c: c.update(annotations=[]), "has no boxes"),
    ],
)
def test_malformed_coco_has_one_line(change: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as error:
        read_csv(coco(tmp_path, change))
    assert "\n" not in str(error.value)


def test_json_that_is_cut_off(tmp_path: Path) -> None:
    path = coco(tmp_path)
    whole = path.read_text()
    for damaged in (whole[:100], "[" * 100_000):
        path.write_text(damaged)
        with pytest.raises(UserError, match="cannot be read as JSON"):
            read_csv(path)
    path.write_text("\ufeff" + whole)
    assert len(read_csv(path)) == 7
