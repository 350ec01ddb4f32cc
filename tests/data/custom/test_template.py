"""``cxrbench data init``: the file that it writes changes nothing, knows every key, and overwrites nothing."""

import json
import tomllib
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrbench.data.custom.dataset import read_csv
from cxrbench.data.custom.sidecar import Sidecar
from cxrbench.data.custom.template import write_sidecar
from cxrbench.errors import UserError

HEADERS = {
    "image,patient,effusion,Mass,note": [f"{{}},p{n},{n % 2},{(n + 1) % 3 == 0:d},x" for n in range(9)],
    "file,diagnosis,sex,age": ["{},normal,F,60", "{},tb,M,61", "{},normal,F,7"],
    "img,findings": ["{},Mass|Edema", "{},Edema", "{},"],
    "path,label": ["{},1", "{},0", "{},1"],
    "image,mask": ["{},{}", "{},", "{},{}"],
    "image,severity,regression:dose": ["{},1,5", "{},2,6", "{},3,7"],
    "image,label,x,y,width,height": ["{},Mass,1,1,2,2", "{},Edema,1,1,2,2", "{},,,,,"],
    "image,study,report,view": ["{},s1,Clear.,PA", "{},s1,,L", "{},s2,Not clear.,AP"],
    "image": ["{}", "{}", "{}"],
}


def written(root: Path, header: str, rows: list[str]) -> Path:
    for n in range(len(rows)):
        Image.fromarray(np.full((8, 8), n, np.uint8)).save(root / f"{n}.png")
    lines = [row.replace("{}", f"{n}.png") for n, row in enumerate(rows)]
    (root / "own.csv").write_text("\n".join([header, *lines]) + "\n")
    return root / "own.csv"


@pytest.mark.parametrize("header", HEADERS)
def test_the_file_changes_nothing(header: str, tmp_path: Path) -> None:
    path = written(tmp_path, header, HEADERS[header])
    before = read_csv(path)
    place = write_sidecar(path)
    after = read_csv(path)
    assert (after.fingerprint, after.quantities) == (before.fingerprint, before.quantities)
    assert after.images.equals(before.images)
    with pytest.raises(UserError, match=r"own\.toml is there already"):
        write_sidecar(path)
    assert tomllib.loads(place.read_text())["image"] == header.split(",")[0]


def test_every_key_is_there_and_every_example_is_valid(tmp_path: Path) -> None:
    path = written(tmp_path, "image,effusion", ["{},1", "{},0"])
    text = write_sidecar(path).read_text()
    for entry in fields(Sidecar):
        assert f"# {entry.metadata['help']}\n" in text
        assert f"\n{entry.name} = " in text or f"\n# {entry.name} = {entry.metadata['example']}\n" in text
        tomllib.loads(f"{entry.name} = {entry.metadata['example']}")


def test_a_seed_is_written_and_used(tmp_path: Path) -> None:
    path = written(tmp_path, "image,effusion", [f"{{}},{n % 2}" for n in range(20)])
    write_sidecar(path, split_seed=3)
    assert any("stratified, seed 3" in note for note in read_csv(path).notes)


def test_a_coco_json_has_its_file_too(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "0.png")
    boxes = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 3, 3]}]
    content = {
        "images": [{"id": 1, "file_name": "0.png"}],
        "categories": [{"id": 1, "name": "Mass"}],
        "annotations": boxes,
    }
    (tmp_path / "own.json").write_text(json.dumps(content))
    before = read_csv(tmp_path / "own.json")
    write_sidecar(tmp_path / "own.json")
    assert read_csv(tmp_path / "own.json").fingerprint == before.fingerprint


def test_what_is_not_understood_is_said_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file .*none\.csv"):
        write_sidecar(tmp_path / "none.csv")
    path = written(tmp_path, "picture,effusion", ["{},1", "{},0"])
    with pytest.raises(UserError, match="has no column of image files"):
        write_sidecar(path)
    assert not path.with_suffix(".toml").exists()
