"""The neck: exact strides for any patch and any size, in place, trainable."""

import math
from typing import Any

import pytest
import timm
import torch

from cxrbench.tasks.dense.neck import Neck, pyramid_sides


@pytest.mark.parametrize(
    ("size", "patch"), [(224, 14), (224, 16), (128, 16), (518, 14), (224, 32), (224, 8), (96, 16), (42, 14)]
)
def test_a_plain_vit_becomes_a_pyramid(size: int, patch: int) -> None:
    side = size // patch
    neck = Neck((12,) * 4, (side,) * 4, size, width=8)
    levels = neck(tuple(torch.randn(2, 12, side, side) for _ in range(4)))
    expected = [math.ceil(size / stride) for stride in (4, 8, 16, 32)]
    assert [tuple(level.shape) for level in levels] == [(2, 8, side, side) for side in expected]
    torch.stack([level.square().mean() for level in levels]).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in neck.parameters())


@pytest.mark.parametrize("size", [224, 250])
def test_a_cnn_is_only_projected(size: int) -> None:
    backbone = timm.create_model("resnet10t", features_only=True, out_indices=(1, 2, 3, 4)).eval()
    with torch.no_grad():
        maps = backbone(torch.rand(1, 3, size, size))
    sides = tuple(m.shape[-1] for m in maps)
    assert sides == pyramid_sides(size)
    neck = Neck([m.shape[1] for m in maps], sides, size, width=8).eval()
    assert sum(p.numel() for p in neck.parameters()) == sum(8 * m.shape[1] + 8 for m in maps)
    part: Any
    for level, native, part in zip(neck(maps), maps, neck.levels, strict=True):
        weight, bias = part[2].weight[:, :, 0, 0], part[2].bias
        expected = torch.einsum("oc,bchw->bohw", weight, native) + bias[:, None, None]
        torch.testing.assert_close(level, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("size", "patch"), [(224, 16), (224, 14), (518, 14)])
def test_what_is_in_one_place_stays_there(size: int, patch: int) -> None:
    """One bright patch: every level changes around that place and nowhere far from it."""
    torch.manual_seed(0)
    side = size // patch
    neck = Neck((6,) * 4, (side,) * 4, size, width=8).eval()
    blank = torch.randn(1, 6, 1, 1).expand(1, 6, side, side)
    lit = blank.clone()
    row, column = side // 4, 2 * side // 3
    lit[0, :, row, column] += torch.randn(6)
    with torch.inference_mode():
        for before, after in zip(neck([blank] * 4), neck([lit] * 4), strict=True):
            change = (after - before).abs().sum(1)[0]
            stride = size / change.shape[0]
            y, x = (torch.arange(change.shape[0]) + 0.5) * stride, (torch.arange(change.shape[0]) + 0.5) * stride
            centre = (change.sum(1) @ y / change.sum(), change.sum(0) @ x / change.sum())
            tolerance = max(patch, 2 * stride) / 2 + 1
            assert abs(centre[0] - (row + 0.5) * patch) < tolerance
            assert abs(centre[1] - (column + 0.5) * patch) < tolerance


@pytest.mark.parametrize("sides", [(8, 8, 8, 8), (32, 16, 8, 4)])
def test_maps_of_any_scale_and_offset_do(sides: tuple[int, ...]) -> None:
    neck = Neck((12,) * 4, sides, 128, width=8)
    maps = [torch.randn(4, 12, side, side) for side in sides]
    for level, scaled in zip(neck(maps), neck([1000 * m for m in maps]), strict=True):
        torch.testing.assert_close(level, scaled, atol=1e-3, rtol=1e-3)
    offset = torch.arange(12.0)[:, None, None] if len(set(sides)) > 1 else 5.0  # of a token's mean, of each channel's
    for level, moved in zip(neck(maps), neck([m + offset for m in maps]), strict=True):
        torch.testing.assert_close(level, moved, atol=1e-3, rtol=1e-3)


def test_no_gradient_goes_into_the_frozen_maps() -> None:
    neck = Neck((12,) * 4, (8,) * 4, 128, width=8)
    levels: Any = neck.levels
    first = [level[:2](torch.randn(2, 12, 8, 8)) for level in levels]
    assert not any(standard.requires_grad for standard in first)


@pytest.mark.parametrize("given", [4, 3])
def test_the_finest_level_can_be_left_out(given: int) -> None:
    neck = Neck((5, 6, 7, 8), (32, 16, 8, 4), 128, width=8, finest=1)
    maps = [torch.randn(2, width, side, side) for width, side in ((5, 32), (6, 16), (7, 8), (8, 4))]
    assert [level.shape[-1] for level in neck(maps[-given:])] == [16, 8, 4]


def test_cached_maps_need_no_conversion() -> None:
    neck = Neck((12,) * 4, (8,) * 4, 128, width=8)
    maps = [torch.randn(2, 12, 8, 8).half() for _ in range(4)]
    for level, wide in zip(neck(maps), neck([m.float() for m in maps]), strict=True):
        torch.testing.assert_close(level, wide)
