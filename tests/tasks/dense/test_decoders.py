"""Decoders of published width: parameters as published or counted by hand, shapes, and what their layers compute."""

from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

from cxrbench.task import DecoderName
from cxrbench.tasks.dense.decoders.named import build_decoder
from cxrbench.tasks.dense.native_pyramid import NativePyramid
from cxrbench.tasks.dense.training import seeded
from support.dense_toy import CPU

VIT_B = {"widths": (768,) * 4, "sides": (14,) * 4, "size": 224}
RESNET_50 = {"widths": (256, 512, 1024, 2048), "sides": (56, 28, 14, 7), "size": 224}


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def conv(channels: int, width: int, kernel: int = 1, *, bias: bool = False, norm: bool = True) -> int:
    """Weights of a convolution, of its bias and of a norm behind it."""
    return channels * width * kernel**2 + width * bias + 2 * width * norm


def test_linear_decoders_have_the_papers_parameters() -> None:
    """RadJEPA, Table 4: 768 features, 769 parameters; 2048 features, 2049."""
    assert parameters(build_decoder("linear", **VIT_B, classes=1)) == 769
    assert parameters(build_decoder("linear", **RESNET_50, classes=1)) == 2049


def test_the_wide_upernet_has_the_papers_39_million() -> None:
    """RadJEPA, Table 4: 4 x 768 features, 39.3 M; mmsegmentation's UPerHead of 512 on BEiT's four resampled maps."""
    pooled = 4 * conv(768, 512) + conv(768 + 4 * 512, 512, 3)
    laterals, smoothed, fused = 3 * conv(768, 512), 3 * conv(512, 512, 3), conv(4 * 512, 512, 3)
    doubled = 3 * (768 * 768 * 4 + 768) + 2 * 768  # three transposed convolutions, one batch norm
    norms, head = 4 * 2 * 768, 512 + 1  # segmentation-models-pytorch normalises each map; the last 1 x 1
    total = parameters(build_decoder("upernet-wide", **VIT_B, classes=1))
    assert total == pooled + laterals + smoothed + fused + doubled + norms + head
    assert round(total / 1e6, 1) == 39.3


def test_the_wide_unet_is_that_of_segmentation_models_but_for_stride_2() -> None:
    reference = smp.Unet("resnet50", encoder_weights=None)
    whole: Any = reference.decoder
    head: Any = reference.segmentation_head
    mine = build_decoder("unet-wide", **RESNET_50, classes=1)
    assert parameters(mine) == parameters(whole) - 64 * 32 * 9 + parameters(head)


def test_pacx_maes_decoder_is_its_five_layers() -> None:
    layers: list[nn.Module] = [nn.Conv2d(768, 256, 3, padding=1), nn.ReLU()]
    for width, following in ((256, 128), (128, 64), (64, 32), (32, 1)):
        layers += [nn.ConvTranspose2d(width, following, 2, 2), nn.ReLU()]
    reference = nn.Sequential(*layers[:-1])
    decoder: Any = build_decoder("transposed", **VIT_B, classes=1).eval()
    assert parameters(decoder) == parameters(reference) == 1_942_113
    reference.load_state_dict(decoder.layers.state_dict())
    tokens = torch.randn(2, 768, 14, 14)
    normed = torch.nn.functional.layer_norm(tokens.movedim(1, -1), (768,), eps=1e-6).movedim(-1, 1)
    torch.testing.assert_close(decoder([tokens]), reference(normed), atol=1e-4, rtol=1e-4)
    assert decoder([tokens]).shape == (2, 1, 224, 224)


def test_vitdets_pyramid_has_detectron2s_parameters() -> None:
    """Li et al. (2022): scales 4, 2, 1, 1/2 of the last map; 256 channels."""
    halved = 768 * 384 * 4 + 384
    ends = [conv(width, 256) + conv(256, 256, 3) for width in (192, 384, 768, 768)]
    expected = [halved + 2 * 384 + 384 * 192 * 4 + 192, halved, 0, 0]
    decoder: Any = build_decoder("vitdet", **VIT_B, classes=1)
    assert [parameters(level) for level in decoder.pyramid] == [a + b for a, b in zip(expected, ends, strict=True)]
    shapes = [level(torch.randn(1, 768, 14, 14)).shape[1:] for level in decoder.pyramid]
    assert shapes == [(256, 56, 56), (256, 28, 28), (256, 14, 14), (256, 7, 7)]


@pytest.mark.parametrize(("name", "steps"), [("unet-wide", 12), ("vitdet", 6), ("transposed", 60)])
def test_decoders_learn_a_corner(name: DecoderName, steps: int) -> None:
    """They can tell a bright quadrant from the rest, from the maps of a toy ViT."""
    generator = torch.Generator().manual_seed(0)
    maps = [0.1 * torch.randn(4, 8, 4, 4, generator=generator) for _ in range(4)]
    for i, each in enumerate(m[:, :, :2, :2] for m in maps):
        each += i + 1
    with seeded(0, CPU):
        decoder = build_decoder(name, (8,) * 4, (4,) * 4, 1, 64)
    target = torch.zeros(4, 1, decoder.side, decoder.side)
    target[:, :, : decoder.side // 2, : decoder.side // 2] = 1
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=4e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(decoder(maps), target)
        loss.backward()
        optimizer.step()
    assert ((decoder(maps) > 0) == (target > 0)).float().mean() > 0.9


def test_a_cnns_maps_are_a_pyramid_as_they_are() -> None:
    pyramid = NativePyramid((4, 8, 16, 32), (16, 8, 4, 2), 64)
    assert parameters(pyramid) == 0
    maps = [torch.randn(8, width, side, side) for width, side in ((4, 16), (8, 8), (16, 4), (32, 2))]
    for native, level in zip(maps, pyramid(maps), strict=True):
        reference = nn.functional.batch_norm(native, None, None, training=True)
        torch.testing.assert_close(level, reference)
