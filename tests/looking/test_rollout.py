"""Attention rollout against matrices by hand, and what encoders say of their attention against timm's extractor."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from timm.models.eva import Eva
from timm.models.resnet import ResNet
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from timm.utils.attention_extract import AttentionExtract
from torch import Tensor

from cxrbench.encoder import Attentions, EncoderCard, Features, Preprocess
from cxrbench.encoders.backbones.encoder import Pooling, ViTEncoder, gray_preprocess, untrained_vit
from cxrbench.encoders.backbones.vit import ViTConfig
from cxrbench.encoders.families.hf import FAMILIES, HFEncoder
from cxrbench.encoders.families.timm import TimmEncoder
from cxrbench.encoders.fane.encoder import FaNeImageEncoder
from cxrbench.encoders.fane.image import ResNetConfig, build_image_tower, image_preprocess
from cxrbench.encoders.mvmae.encoder import untrained as untrained_mvmae
from cxrbench.errors import NotApplicableError
from cxrbench.looking.look import rollout_problem
from cxrbench.looking.rollout import rollout

CONFIG = ViTConfig(64, 4, 2, 8, 24, 1)
CARD, RGB = EncoderCard("none"), Preprocess(32, "squash", (0.5,), (0.25,), 3)


def small(pooling: Pooling) -> ViTEncoder:
    """A small ViT in float64, whose attention is far from uniform."""
    encoder = untrained_vit(CONFIG, 0, pooling).double().eval()
    for block in encoder.backbone.blocks:
        block.attn.qkv.weight.data *= 3  # type: ignore[union-attr,operator]
    return encoder


def by_hand(encoder: ViTEncoder, image: Tensor) -> np.ndarray:
    """Every step from the pixels to the weights of the patches, in loops over tokens and heads."""
    backbone: Any = encoder.backbone
    weights = {name: tensor.detach().numpy() for name, tensor in backbone.state_dict().items()}
    side, patch, heads = CONFIG.side, CONFIG.patch, CONFIG.heads
    pixels, kernel = image.numpy()[0], weights["patch_embed.proj.weight"]
    tokens = [weights["cls_token"][0, 0] + weights["pos_embed"][0, 0]]
    for row in range(side):
        for column in range(side):
            part = pixels[row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
            at = weights["pos_embed"][0, 1 + row * side + column]
            tokens.append((kernel[:, 0] * part).sum((1, 2)) + weights["patch_embed.proj.bias"] + at)
    x = np.stack(tokens)
    product = np.eye(len(x))
    for number in range(CONFIG.depth):
        w = {name.removeprefix(f"blocks.{number}."): value for name, value in weights.items()}
        normal = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-6)
        qkv = (normal * w["norm1.weight"] + w["norm1.bias"]) @ w["attn.qkv.weight"].T + w["attn.qkv.bias"]
        width = CONFIG.width // heads
        mean, out = np.zeros((len(x), len(x))), np.zeros_like(x)
        for head in range(heads):
            q, k, v = (qkv[:, part * CONFIG.width :][:, head * width : (head + 1) * width] for part in range(3))
            for i in range(len(x)):
                scores = [math.exp(float(q[i] @ k[j]) / math.sqrt(width)) for j in range(len(x))]
                for j in range(len(x)):
                    mean[i, j] += scores[j] / sum(scores) / heads
                    out[i, head * width : (head + 1) * width] += scores[j] / sum(scores) * v[j]
        x = x + out @ w["attn.proj.weight"].T + w["attn.proj.bias"]
        normal = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-6)
        hidden = (normal * w["norm2.weight"] + w["norm2.bias"]) @ w["mlp.fc1.weight"].T + w["mlp.fc1.bias"]
        hidden = hidden * 0.5 * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
        x = x + hidden @ w["mlp.fc2.weight"].T + w["mlp.fc2.bias"]
        product = (mean + np.eye(len(x))) / 2 @ product
    rows = product[:1] if encoder.pooling == "cls" else product[1:]
    return rows.mean(0)[1:].reshape(side, side)


@pytest.mark.parametrize("pooling", ["cls", "mean", "mean+sd"])
def test_rollout_is_the_product_of_matrices_by_hand(pooling: Pooling) -> None:
    encoder = small(pooling)
    image = torch.randn(1, 24, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        seen = encoder.attentions(image[None])
    expected = by_hand(encoder, image)
    np.testing.assert_allclose(rollout(seen)[0].numpy(), expected, rtol=1e-9)
    assert expected.max() > 1.5 * expected.min()  # something to be wrong about


def test_what_is_kept_by_cls_is_all_that_patches_lack() -> None:
    uniform = torch.full((2, 3, 5, 5), 0.2, dtype=torch.float64)
    seen = Attentions((uniform, uniform), (2, 2), torch.tensor([1.0, 0, 0, 0, 0]))
    # CLS keeps 1/2 of itself in each block and gets 1/5 of the rest: 1/4 + 3/4 * 1/5
    torch.testing.assert_close(rollout(seen), torch.full((2, 2, 2), 0.15, dtype=torch.float64))
    mean = Attentions((uniform, uniform), (2, 2), torch.tensor([0, 0.25, 0.25, 0.25, 0.25]))
    torch.testing.assert_close(rollout(mean).sum((1, 2)), torch.full((2,), 1 - 0.15, dtype=torch.float64))


def drawn(*shape: int) -> torch.Tensor:
    """The same noise in every run."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def plain_timm(**options: Any) -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(
        img_size=32, patch_size=8, embed_dim=64, depth=4, num_heads=2, num_classes=0, **options
    ).eval()  # fmt: skip


def test_a_timm_vits_attention_is_what_timms_extractor_finds() -> None:
    images = drawn(2, 3, 32, 32)
    for options in ({}, {"reg_tokens": 3, "qk_norm": True}, {"global_pool": "avg", "class_token": False}):
        encoder = TimmEncoder(plain_timm(**options), RGB, CARD)
        fused = [block.attn.fused_attn for block in encoder.backbone.blocks]
        with torch.inference_mode():
            before = encoder(images).pooled
            seen = encoder.attentions(images)
            after = encoder(images).pooled
        assert [block.attn.fused_attn for block in encoder.backbone.blocks] == fused
        assert not any(block.attn.attn_drop._forward_hooks for block in encoder.backbone.blocks)
        assert torch.equal(before, after)
        reference = plain_timm(**options)
        for block in reference.blocks:
            block.attn.fused_attn = False  # type: ignore[union-attr]
        with torch.inference_mode():
            found = list(AttentionExtract(reference, method="fx")(images).values())
        assert len(seen.blocks) == len(found) == 4
        for got, expected in zip(seen.blocks, found, strict=True):
            torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)
        of_patches = rollout(seen).sum((1, 2))
        if "class_token" in options:  # the mean of the patches, and nothing else is there to attend to
            torch.testing.assert_close(seen.read, torch.full((16,), 1 / 16, dtype=torch.float64))
            torch.testing.assert_close(of_patches, torch.ones(2, dtype=torch.float64), atol=1e-5, rtol=0)
        else:
            assert seen.read.argmax() == 0
            assert (of_patches < 0.99).all()


def test_our_vit_and_timms_with_the_same_weights_look_alike() -> None:
    ours = untrained_vit(CONFIG, 0, "cls").eval()
    theirs = VisionTransformer(
        img_size=24, patch_size=8, in_chans=1, embed_dim=64, depth=4, num_heads=2, num_classes=0
    ).eval()  # fmt: skip
    theirs.load_state_dict(ours.backbone.state_dict())
    other = TimmEncoder(theirs, gray_preprocess(CONFIG), CARD)
    images = drawn(2, 1, 24, 24)
    with torch.inference_mode():
        torch.testing.assert_close(rollout(ours.attentions(images)), rollout(other.attentions(images)))


def test_eva_with_rotary_positions_says_where_it_looks() -> None:
    net = Eva(img_size=32, patch_size=8, embed_dim=64, depth=4, num_heads=2, num_classes=0, use_rot_pos_emb=True)
    with torch.inference_mode():
        seen = TimmEncoder(net.eval(), RGB, CARD).attentions(drawn(1, 3, 32, 32))
    assert len(seen.blocks) == 4
    torch.testing.assert_close(seen.blocks[0].sum(3), torch.ones(1, 2, 17))


@pytest.mark.parametrize("kind", ["vit", "dinov2_with_registers", "ijepa", "clip_vision_model"])
def test_transformers_attention_is_eager_while_it_is_asked(kind: str) -> None:
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64,
             "image_size": 32, "patch_size": 8}  # fmt: skip
    family = FAMILIES[kind]
    model = getattr(transformers, family.model)(transformers.AutoConfig.for_model(kind, **shape), **family.options)
    encoder = HFEncoder(model.eval(), family, RGB, CARD)
    before, images = model.config._attn_implementation, drawn(2, 3, 32, 32)
    with torch.inference_mode():
        seen = encoder.attentions(images)
        assert model.config._attn_implementation == before != "eager"
        model.set_attn_implementation("eager")
        expected = model(images, output_attentions=True).attentions
    for got, wanted in zip(seen.blocks, expected, strict=True):
        torch.testing.assert_close(got, wanted)
    assert rollout(seen).shape == (2, 4, 4)
    assert (seen.read[0] == 1) == (kind != "ijepa")


def test_a_view_changes_where_it_looks() -> None:
    encoder = untrained_mvmae("64x4p8s24", 0).eval()
    images = drawn(1, 1, 24, 24)
    with torch.inference_mode():
        frontal, lateral = (rollout(encoder.attentions(images, torch.tensor([view]))) for view in (0, 1))
        torch.testing.assert_close(rollout(encoder.attentions(images)), frontal)
    assert not torch.allclose(frontal, lateral)


def test_who_has_no_such_attention_says_why() -> None:
    siglip = transformers.SiglipVisionConfig(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64, image_size=32, patch_size=8
    )
    windows = SwinTransformer(img_size=32, patch_size=2, embed_dim=16, depths=(2, 2), num_heads=(2, 2), window_size=4)
    cnn: Any = ResNet(block=__import__("timm").models.resnet.BasicBlock, layers=(1, 1, 1, 1), num_classes=0)
    resnet = ResNetConfig((1, 1, 1, 1), bottleneck=False, size=48)
    map_pool = plain_timm(class_token=False, global_pool="map")
    cases: list[tuple[Any, str]] = [
        (TimmEncoder(cnn, RGB, CARD), "no plain ViT"),
        (TimmEncoder(windows, RGB, CARD), "no plain ViT"),
        (TimmEncoder(map_pool, RGB, CARD), "neither at CLS nor at the mean"),
        (
            HFEncoder(transformers.SiglipVisionModel(siglip), FAMILIES["siglip_vision_model"], RGB, CARD),
            "attention pool",
        ),
        (FaNeImageEncoder(build_image_tower(resnet), image_preprocess(resnet), CARD), "a ResNet"),
    ]
    for encoder, why in cases:
        assert why in str(rollout_problem(encoder.eval()))
        with pytest.raises(NotApplicableError, match=why):
            encoder.attentions(torch.zeros(1, 3, encoder.preprocess.size, encoder.preprocess.size))

    class Plain(torch.nn.Module):
        preprocess = RGB

        def forward(self, images: Tensor) -> Features:
            return Features(images.flatten(1))

    assert "has no `attentions`" in str(rollout_problem(Plain()))
    assert rollout_problem(small("cls").float()) is None
