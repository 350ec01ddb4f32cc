import math

import pytest
import torch
from timm.layers.pos_embed_sincos import build_sincos2d_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from cxrbench.encoders.backbones.vit import ARCHITECTURES, ViT, ViTConfig, infer_config, parse_arch, sincos_positions
from cxrbench.errors import UserError

SMALL = ViTConfig(width=128, depth=6, heads=2, patch=8, size=32, channels=1)


def timm_vit(config: ViTConfig) -> VisionTransformer:
    return VisionTransformer(
        img_size=config.size,
        patch_size=config.patch,
        in_chans=config.channels,
        num_classes=0,
        embed_dim=config.width,
        depth=config.depth,
        num_heads=config.heads,
        class_token=config.class_token,
        global_pool="token" if config.class_token else "avg",
        fc_norm=False,
    ).eval()


@pytest.mark.parametrize("class_token", [True, False])
def test_equals_timm_with_the_same_weights(class_token: bool) -> None:
    config = ViTConfig(128, 6, 2, 8, 32, 3, class_token)
    ours, theirs = ViT(config).eval(), timm_vit(config)
    nn.init.normal_(ours.patch_embed.proj.bias)  # type: ignore[arg-type]
    theirs.load_state_dict(ours.state_dict(), strict=True)
    images = torch.randn(3, 3, 32, 32)
    tokens, maps = ours(images)
    torch.testing.assert_close(tokens, theirs.forward_features(images), atol=1e-5, rtol=0)
    blocks = [k - 1 for k in ours.map_blocks]
    expected = theirs.forward_intermediates(images, indices=blocks, intermediates_only=True)
    for ours_map, theirs_map in zip(maps, expected, strict=True):
        torch.testing.assert_close(ours_map, theirs_map, atol=1e-5, rtol=0)


def test_maps_of_twelve_blocks_are_those_of_3_6_9_12() -> None:
    assert ViT(ViTConfig(64, 12, 1, 16, 32)).map_blocks == (3, 6, 9, 12)
    assert ViT(ViTConfig(64, 4, 1, 16, 32)).map_blocks == (1, 2, 3, 4)


def test_encode_of_all_tokens_is_forward_and_order_does_not_matter() -> None:
    vit = ViT(SMALL).eval()
    images = torch.randn(2, 1, 32, 32)
    tokens = vit.embed(images)
    whole, _ = vit(images)
    torch.testing.assert_close(vit.encode(tokens), whole)
    order = torch.randperm(SMALL.tokens)
    torch.testing.assert_close(vit.encode(tokens[:, order])[:, 1:], whole[:, 1:][:, order], atol=1e-5, rtol=0)


def test_subset_does_not_see_the_rest() -> None:
    vit = ViT(SMALL).eval()
    images = torch.randn(1, 1, 32, 32)
    subset = vit.encode(vit.embed(images)[:, :4])  # the first row of patches
    images[:, :, 8:] = 100.0
    torch.testing.assert_close(vit.encode(vit.embed(images)[:, :4]), subset)
    assert subset.shape == (1, 5, 128)


def test_sincos_positions_in_closed_form() -> None:
    side, width = 5, 24
    positions = sincos_positions(side, width)
    for y, x, i in [(0, 0, 0), (3, 1, 2), (4, 4, 5), (1, 3, 0)]:
        token, omega, quarter = positions[y * side + x], 10000 ** (-4 * i / width), width // 4
        expected = [math.sin(x * omega), math.cos(x * omega), math.sin(y * omega), math.cos(y * omega)]
        assert [float(token[k * quarter + i]) for k in range(4)] == pytest.approx(expected, abs=1e-6)
    # timm has the same numbers in another order of channels: sin y, sin x, cos y, cos x
    sin_y, sin_x, cos_y, cos_x = build_sincos2d_pos_embed([side, side], dim=width).chunk(4, dim=1)
    torch.testing.assert_close(positions, torch.cat([sin_x, cos_x, sin_y, cos_y], dim=1), atol=1e-5, rtol=0)


def test_positions_are_fixed_and_the_class_token_has_none() -> None:
    vit = ViT(SMALL)
    assert "pos_embed" in vit.state_dict()
    assert "pos_embed" not in dict(vit.named_parameters())
    assert vit.pos_embed.shape == (1, 17, 128)
    assert not vit.pos_embed[:, 0].any()


@pytest.mark.parametrize(("name", "millions"), [("tiny", 5.5), ("small", 21.7), ("base", 85.8), ("nano", 1.83)])
def test_sizes_of_named_architectures(name: str, millions: float) -> None:
    with torch.device("meta"):
        vit = ViT(parse_arch(name, channels=3))
    count = sum(p.numel() for p in vit.parameters()) / 1e6
    assert count == pytest.approx(millions, rel=0.06)


def test_arch_strings() -> None:
    assert parse_arch("base-512", channels=1) == ViTConfig(768, 12, 12, 16, 512, 1)
    assert parse_arch("micro", channels=1) == ViTConfig(192, 6, 3, 16, 128, 1)
    for wrong in ("huge", "base-", "base-500x", "Base", ""):
        with pytest.raises(UserError, match=r"nano .*base-512"):
            parse_arch(wrong, channels=1)
    with pytest.raises(UserError, match="image size 500 is no multiple of the patch size 16"):
        parse_arch("base-500", channels=1)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_shape_is_inferred_from_the_state_dict(name: str) -> None:
    config = parse_arch(f"{name}-64", channels=1)
    with torch.device("meta"):
        state = ViT(config).state_dict()
    assert infer_config(state, "x") == config


def test_no_vit_is_told_by_its_keys() -> None:
    with pytest.raises(UserError, match=r"lacks patch_embed.proj.weight, .* has fc.bias, fc.weight"):
        infer_config(nn.ModuleDict({"fc": nn.Linear(2, 2)}).state_dict(), "file.pth")
