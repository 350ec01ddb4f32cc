"""Embedding a batch: on a CPU in parts, with the numbers of the whole."""

import numpy as np
import torch

from cxrbench.encoder import Features, Preprocess
from cxrbench.features.extract import CPU_PART, ExtractOptions, embed


class Noting(torch.nn.Module):
    """Embeds an image as the means of its rows, and notes how many images come at once."""

    preprocess = Preprocess(size=8, mean=(0.5,), std=(0.5,), channels=1)

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def forward(self, images: torch.Tensor) -> Features:
        """Features of images [b, 1, 8, 8]."""
        self.sizes.append(len(images))
        return Features(images.mean((1, 3)))


def test_a_batch_is_embedded_in_parts_of_about_one_size() -> None:
    """No part is so small that its matrices are multiplied by other kernels."""
    module, images = Noting(), torch.rand(2 * CPU_PART + 1, 1, 8, 8)
    options = ExtractOptions(torch.device("cpu"), "fp32", batch_size=64)
    values = embed(module, images, options)
    np.testing.assert_array_equal(values, images.mean((1, 3)).numpy())
    assert sum(module.sizes) == len(images)
    assert max(module.sizes) <= CPU_PART
    assert max(module.sizes) - min(module.sizes) <= 1
    embed(module, images[:3], options)
    assert module.sizes[-1] == 3
