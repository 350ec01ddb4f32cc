"""Masks in a user's CSV: of several labels that overlap, and rows of an array."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrbench.data.annotations.masks import TrueMasks
from cxrbench.data.custom.dataset import read_csv
from cxrbench.errors import UserError
from support.own_table import csv


def test_masks_of_several_labels_overlap(tmp_path: Path) -> None:
    drawn = {
        "heart": (slice(1, 4), slice(0, 4)),
        "lung": (slice(0, 3), slice(2, 6)),
        "left": (slice(0, 1), slice(0, 1)),
    }
    for name, where in drawn.items():
        mask = np.zeros((4, 6), np.uint8)
        mask[where] = 255
        Image.fromarray(mask).save(tmp_path / f"{name}.png")
    manifest = read_csv(csv(tmp_path, "mask:heart,mask:lung", ["heart.png,lung.png|left.png", "heart.png,", ","]))
    truth = TrueMasks.of(manifest)
    assert (truth.labels, truth.exclusive) == (("heart", "lung"), False)
    heart, lung = truth.native("0.png", 4, 6) == 1
    assert (heart & lung).sum() == 4
    assert (heart.sum(), lung.sum()) == (12, 13)
    assert truth.known("1.png").tolist() == [True, False]
    assert manifest.labels == ()


@pytest.mark.parametrize(
    ("header", "sidecar", "message"),
    [
        ("mask,mask:lung", "", "give one mask per image, or a column mask:LABEL"),
        ("mask:heart,mask:lung", 'mask_label = "lung"', "which say it themselves"),
    ],
)
def test_masks_said_in_two_ways(header: str, sidecar: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read_csv(csv(tmp_path, header, ["0.png,0.png", ","], sidecar))


def test_a_mask_may_be_a_row_of_an_array(tmp_path: Path) -> None:
    mask = np.zeros((1, 4, 6), np.int64)
    mask[0, 1:3, 2:4] = 7
    np.save(tmp_path / "masks.npy", mask)
    manifest = read_csv(csv(tmp_path, "mask", ["masks.npy#0", ""]))
    assert (TrueMasks.of(manifest).native("0.png", 4, 6) == 1).sum() == 4
