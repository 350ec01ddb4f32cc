"""VinDr-RibCXR's files with random damage: a manifest or one line, never a traceback. A sample; seeds are fixed."""

import json
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cxrbench.data.annotations.masks import TrueMasks
from cxrbench.data.datasets.segmentation import vindr_ribcxr
from cxrbench.errors import UserError
from support.damage import MUTATIONS, value_changed
from support.mask_layouts import HEIGHT, WIDTH, outline
from support.mask_layouts import vindr_ribcxr as write_ribs

ODD: list[Any] = [
    None, True, 0, -1, 1e308, 10**400, float("nan"), "", "none", "\u202e\nx", "12345678", [], {}, [[]], [1, 2, 3, 4, 5],
    {"0": {"x": 1, "y": 1}}, {"1": 1, "2": 2, "3": 3, "4": 4, "5": 5, "6": 6}, [{"x": 1}] * 3,
    [{"x": None, "y": 1}] * 3, "a" * 5000, [{"x": 1e9, "y": 1}, {"x": 3, "y": 4}, {"x": -1e9, "y": 7}], [[[1, 2]]] * 3,
]  # fmt: skip
FILES = ("train/Vindr_RibCXR_train_mask.json", "val/Vindr_RibCXR_val_mask.json")


def answer(root: Path) -> str:
    """What is wrong, or "" for a manifest, whose masks fit."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            manifest = vindr_ribcxr.read(root)
    except UserError as error:
        return str(error)
    TrueMasks.of(manifest)
    return ""


@pytest.mark.parametrize("file", FILES)
def test_a_damaged_json_is_a_manifest_or_one_line(file: str, tmp_path: Path) -> None:
    path, refused = write_ribs(tmp_path) / file, 0
    whole, rng = path.read_bytes(), random.Random(file)
    for number in range(60):
        change = MUTATIONS[number % len(MUTATIONS)]
        path.write_bytes(value_changed(whole, rng, ODD) if number % 2 else change(whole, rng))
        said = answer(tmp_path)
        refused += bool(said)
        assert not said or vindr_ribcxr.SOURCE in said, number
        assert said.isprintable(), number
        assert len(said) < 800, number
    assert 30 < refused < 60


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"1": 1, "2": 2, "3": 3, "4": 4, "5": 5, "6": 6}, "is no list of points x, y"),
        ("123456", "is no list of points x, y"),
        ([{"x": 10**400, "y": 1}] * 3, "is no list of points x, y"),
        ([{"x": 1e9, "y": 1}, {"x": 3, "y": 4}, {"x": -1e9, "y": 7}], "has a point beyond 1,000,000 pixels"),
    ],
)
def test_what_could_pass_for_an_outline_does_not(value: Any, message: str, tmp_path: Path) -> None:
    path = write_ribs(tmp_path) / FILES[1]
    table = json.loads(path.read_text())
    table["R3"]["2"] = value
    path.write_text(json.dumps(table))
    assert f"rib R3 of image VinDr_RibCXR_val_002 {message}" in answer(tmp_path)


def test_outlines_of_no_image_and_a_row_that_is_there_twice_are_refused(tmp_path: Path) -> None:
    path = write_ribs(tmp_path) / FILES[1]
    whole = path.read_text()
    table = json.loads(whole)
    table["L2"]["7"] = outline(0, 0, 3, 3)
    path.write_text(json.dumps(table))
    assert "has L2 for row(s) 7, of which img names no image" in answer(tmp_path)
    path.write_text(whole.replace('"L2": {', '"L2": {"3": "None", ', 1))
    assert "an object has the key '3' twice" in answer(tmp_path)


def test_images_of_another_size_than_their_outlines_are_refused(tmp_path: Path) -> None:
    path = write_ribs(tmp_path) / "train/img/VinDr_RibCXR_train_004.png"
    Image.fromarray(np.zeros((HEIGHT // 4, WIDTH // 4), np.uint8)).save(path)
    said = answer(tmp_path)
    assert "of image VinDr_RibCXR_train_004 lies outside of its 2 x 3 image; are its points in pixels of" in said
