from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from cxrbench.encoder import Encoder, EncoderCard, EncoderRequest, Preprocess
from cxrbench.encoders.backbones.checkpoint import encoder_facts, read_encoder, write_encoder
from cxrbench.encoders.backbones.encoder import ViTEncoder, untrained_vit
from cxrbench.encoders.backbones.vit import ViT, ViTConfig, parse_arch
from cxrbench.encoders.spcl import load
from cxrbench.errors import UserError

ARCH = ViTConfig(width=128, depth=4, heads=2, patch=8, size=32, channels=1)
PREPROCESS = Preprocess(32, "pad", (0.4,), (0.3,), channels=1)
CARD = EncoderCard("spcl", "unknown", ("nih", "rsna"))


def spec(path: Path, variant: str | None = None) -> EncoderRequest:
    return EncoderRequest("spcl", variant, str(path))


def test_features_are_the_class_token_or_the_mean_and_four_maps() -> None:
    encoder = untrained_vit(parse_arch("nano", channels=1), 0)
    images = torch.randn(2, 1, 128, 128)
    tokens, _ = encoder.backbone(images)
    features = encoder(images)
    assert isinstance(encoder, Encoder)
    torch.testing.assert_close(features.pooled, tokens[:, 1:].mean(1))
    assert [m.shape for m in features.maps] == [(2, 192, 8, 8)] * 4
    cls = ViTEncoder(encoder.backbone, encoder.preprocess, encoder.card, "cls")
    torch.testing.assert_close(cls(images).pooled, tokens[:, 0])
    both = ViTEncoder(encoder.backbone, encoder.preprocess, encoder.card, "mean+sd")(images).pooled.detach()
    torch.testing.assert_close(both[:, :192], features.pooled)
    assert both[:, 192:].numpy() == pytest.approx(tokens[:, 1:].detach().numpy().std(axis=1), abs=1e-5)


def test_untrained_follows_its_seed_and_leaves_the_global_one_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first, again, other = (untrained_vit(parse_arch("nano-32", channels=1), seed) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(1), expected)
    weights = [e.backbone.patch_embed.proj.weight for e in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("half", [False, True])
def test_what_is_written_is_read_back(tmp_path: Path, half: bool) -> None:
    backbone, images = ViT(ARCH).eval(), torch.randn(2, 1, 32, 32)
    facts = encoder_facts("spcl", asdict(ARCH), PREPROCESS, CARD)
    write_encoder(tmp_path / "e.safetensors", backbone.state_dict(), facts, half=half)
    encoder = load(spec(tmp_path / "e.safetensors"))
    assert (encoder.preprocess, encoder.card) == (PREPROCESS, CARD)
    torch.testing.assert_close(
        encoder(images).pooled, backbone(images)[0][:, 1:].mean(1), atol=0.02 if half else 0, rtol=0
    )
    cls = load(spec(tmp_path / "e.safetensors", "cls"))
    torch.testing.assert_close(cls(images).pooled, encoder.backbone(images)[0][:, 0])


@pytest.mark.parametrize("channels", [1, 3])
def test_published_layout_loads_by_timms_names(tmp_path: Path, channels: int) -> None:
    config = replace(ARCH, channels=channels)
    backbone = ViT(config).eval()
    nn.init.normal_(backbone.pos_embed)  # a learnt position embedding must be taken over
    torch.save({"model": backbone.state_dict(), "epoch": 3}, tmp_path / "checkpoint.pth")
    encoder = load(spec(tmp_path / "checkpoint.pth"))
    images = torch.randn(2, channels, 32, 32)
    torch.testing.assert_close(encoder(images).pooled, backbone(images)[0][:, 1:].mean(1))
    assert (encoder.preprocess.channels, encoder.preprocess.size) == (channels, 32)
    assert encoder.card.pretrained_on == ()


def test_wrong_weights_are_one_line_that_names_the_keys(tmp_path: Path) -> None:
    save_file({"conv1.weight": torch.zeros(2, 2), "fc.bias": torch.zeros(2)}, tmp_path / "resnet.safetensors")
    with pytest.raises(UserError, match=r"lacks patch_embed.proj.weight.*has conv1.weight, fc.bias"):
        load(spec(tmp_path / "resnet.safetensors"))
    state = ViT(ARCH).state_dict()
    save_file(state | {"neck.weight": torch.zeros(2, 128)}, tmp_path / "head.safetensors")
    with pytest.raises(UserError, match=r"unexpected: neck\.weight"):
        load(spec(tmp_path / "head.safetensors"))
    del state["blocks.2.attn.qkv.bias"]
    save_file(state, tmp_path / "part.safetensors")
    with pytest.raises(UserError, match=r"missing: blocks.2.attn.qkv.bias"):
        load(spec(tmp_path / "part.safetensors"))
    save_file(ViT(replace(ARCH, class_token=False)).state_dict(), tmp_path / "no_cls.safetensors")
    with pytest.raises(UserError, match="without cls_token"):
        load(spec(tmp_path / "no_cls.safetensors"))


def test_wrong_specs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cxrbench pretrain spcl"):
        load(EncoderRequest("spcl", None, None))
    facts = encoder_facts("mvmae", asdict(ARCH), PREPROCESS, CARD)
    write_encoder(tmp_path / "e.safetensors", ViT(ARCH).state_dict(), facts, half=False)
    with pytest.raises(UserError, match="was trained by mvmae: name it mvmae@"):
        load(spec(tmp_path / "e.safetensors"))
    with pytest.raises(UserError, match="pooling: mean"):
        load(spec(tmp_path / "e.safetensors", "max"))
    with pytest.raises(UserError, match="no weights file"):
        read_encoder(tmp_path / "absent.safetensors", "spcl")
