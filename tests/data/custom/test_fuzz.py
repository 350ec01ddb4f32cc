"""Damaged tables: whatever is in them, the answer is a manifest or one line, soon."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrbench.data.custom.dataset import read_csv
from cxrbench.errors import UserError
from support.damage import MUTATIONS

SIDECAR = """name = "mine"
patient = "patient"
labels = ["effusion", "nodule"]
kind = "multilabel"
licence = "CC BY 4.0"
lineage = ["nih"]
[groups]
macro = ["effusion"]
"""


def written(folder: Path, name: str) -> Path:
    """Twelve images and a whole table of the kind: own.csv, boxes.csv, coco.json or own.toml."""
    for n in range(12):
        Image.fromarray(np.full((40, 30), n, np.uint8)).save(folder / f"{n}.png")
    own = ["image,patient,split,effusion,nodule"]
    own += [f"{n}.png,p{n},{('train', 'val', 'test')[n % 3]},{n // 3 % 2},{n % 2}" for n in range(12)]
    boxes = ["image,label,x,y,width,height", *(f"{n}.png,mass,{n},2,3.5,4" for n in range(8)), "9.png,,,,,"]
    coco = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 30, "height": 40} for n in range(12)],
        "categories": [{"id": 1, "name": "mass"}, {"id": 2, "name": "nodule"}],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1 + n % 2, "bbox": [n, 2, 3.5, 4]} for n in range(9)
        ],
    }  # fmt: skip
    (folder / "own.csv").write_text("\n".join(own) + "\n")
    (folder / "own.toml").write_text(SIDECAR)
    (folder / "boxes.csv").write_text("\n".join(boxes) + "\n")
    (folder / "coco.json").write_text(json.dumps(coco))
    return folder / name


def answer(path: Path) -> str:
    """What is wrong, or "" for a manifest, which is looked over."""
    try:
        manifest = read_csv(path)
    except UserError as error:
        return str(error)
    targets = manifest.targets()
    assert (np.isin(targets, (0, 1)) | np.isnan(targets)).all()
    assert manifest.fingerprint
    return ""


@pytest.mark.parametrize("name", ["own.csv", "boxes.csv", "coco.json", "own.toml"])
def test_damaged_tables_give_a_manifest_or_one_line(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, name)
    whole, rng, refused = path.read_bytes(), random.Random(name), 0
    for number in range(30):
        path.write_bytes(MUTATIONS[number % len(MUTATIONS)](whole, rng))
        said = answer(path.with_suffix(".csv") if path.suffix == ".toml" else path)
        refused += bool(said)
        assert "\n" not in said, number
    assert 5 < refused <= 30
