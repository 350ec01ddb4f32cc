"""Images as timm, transformers and open_clip prepare them with their own code, beside ours: alike but for rounding."""

import pytest
import torch
from preprocessing import PIPELINES, SHAPES, difference

LEVELS = 1.6  # of 255: theirs are rounded to whole levels
COSINE = 0.9995


@pytest.mark.parametrize("name", PIPELINES)
def test_pixels_and_what_a_network_makes_of_them_are_the_librarys(name: str) -> None:
    torch.manual_seed(0)
    found = difference(PIPELINES[name](), SHAPES if name.startswith("timm") else SHAPES[:2])
    assert found.largest < LEVELS
    assert found.cosine > COSINE
