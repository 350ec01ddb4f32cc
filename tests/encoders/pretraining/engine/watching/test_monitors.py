"""The figures against numpy, closed forms and plain loops."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from cxrbench.encoders.pretraining.engine.watching.monitors import (
    alignment,
    effective_rank,
    first_component,
    monitors,
    singular_values,
    uniformity,
)


def cloud(images: int = 40, width: int = 12, seed: int = 0) -> torch.Tensor:
    return torch.randn(images, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_effective_rank_and_first_component_are_those_of_numpy_and_scipy() -> None:
    x = cloud() * torch.arange(1, 13) + 7
    centred = x.numpy() - x.numpy().mean(axis=0)
    variances = np.linalg.eigvalsh(centred.T @ centred)
    assert effective_rank(singular_values(x)) == pytest.approx(np.exp(entropy(variances)))
    assert first_component(singular_values(x)) == pytest.approx(variances[-1] / variances.sum())


@pytest.mark.parametrize("dimensions", [1, 3, 8])
def test_effective_rank_of_equal_axes_is_their_number(dimensions: int) -> None:
    """An image at either end of every axis: equal singular values, in a space of more dimensions, turned at random."""
    corners = torch.cat([torch.eye(dimensions), -torch.eye(dimensions)]).double()
    turned = corners @ torch.linalg.qr(cloud(16, 16))[0][:dimensions] + 5
    values = singular_values(turned)
    assert effective_rank(values) == pytest.approx(dimensions)
    assert first_component(values) == pytest.approx(1 / dimensions)


def test_uniformity_and_alignment_are_those_of_a_loop() -> None:
    x, y = cloud(9, 5), cloud(9, 5, seed=1)
    units = [row / math.sqrt(float((row * row).sum())) for row in x.numpy()]
    pairs = [math.exp(-2 * float(((a - b) ** 2).sum())) for i, a in enumerate(units) for b in units[:i]]
    assert uniformity(x) == pytest.approx(math.log(sum(pairs) / len(pairs)))
    others = [row / math.sqrt(float((row * row).sum())) for row in y.numpy()]
    apart = [float(((a - b) ** 2).sum()) for a, b in zip(units, others, strict=True)]
    assert alignment(x, y) == pytest.approx(sum(apart) / len(apart))
    assert (alignment(x, 3 * x), alignment(x, -x)) == (pytest.approx(0), pytest.approx(4))


def test_all_at_once_and_where_undefined() -> None:
    x = cloud().float()
    seen = monitors(x, x[:10] + 0.01)
    assert seen.spread == pytest.approx(float(x.std(dim=0, correction=0).mean()))
    assert 0 < seen.crop_alignment < 0.01
    point = monitors(torch.ones(8, 4), torch.ones(3, 4))
    assert (point.spread, point.uniformity, point.crop_alignment) == (0, pytest.approx(0), pytest.approx(0))
    assert math.isnan(point.effective_rank)
    assert math.isnan(point.first_component)
