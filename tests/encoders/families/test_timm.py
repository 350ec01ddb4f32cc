import argparse
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.data.config import resolve_model_data_config

from cxrbench.engine.registry import load_encoder
from cxrbench.errors import UserError
from cxrbench.plugins.loading import LoadedEncoder, probe

ARCHS = {
    "vit_tiny_patch16_224": [(192, 14, 14)] * 4,
    "resnet10t": [(64, 56, 56), (128, 28, 28), (256, 14, 14), (512, 7, 7)],
    "convnext_atto": [(40, 56, 56), (80, 28, 28), (160, 14, 14), (320, 7, 7)],
}


def from_file(name: str, content: object, path: Path) -> LoadedEncoder:
    torch.save(content, path)
    return load_encoder(f"timm:{name}@{path}", synthetic=False)


def rand(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ARCHS)
def test_pooled_equals_timm_before_its_classifier(name: str, tmp_path: Path) -> None:
    model: Any = timm.create_model(name, pretrained=False).eval()
    loaded = from_file(name, {"state_dict": model.state_dict()}, tmp_path / "model.pth")
    images = rand(2, 3, 224, 224)
    with torch.inference_mode():
        features = loaded.module(images)
        expected = model.forward_head(model.forward_features(images), pre_logits=True)
        logits = model.get_classifier()(features.pooled)
        torch.testing.assert_close(features.pooled, expected)
        torch.testing.assert_close(logits, model(images))
    assert [tuple(m.shape[1:]) for m in features.maps] == ARCHS[name]
    assert probe(loaded).pooled.shape == expected.shape


def test_maps_of_a_plain_vit_are_blocks_3_6_9_12(tmp_path: Path) -> None:
    model: Any = timm.create_model("vit_tiny_patch16_224", pretrained=False).eval()
    seen: list[torch.Tensor] = []
    for block in (2, 5, 8, 11):
        model.blocks[block].register_forward_hook(lambda _, __, output: seen.append(output))
    loaded = from_file("vit_tiny_patch16_224", model.state_dict(), tmp_path / "model.pth")
    images = rand(1, 3, 224, 224)
    with torch.inference_mode():
        model(images)
        maps = loaded.module(images).maps
    for tokens, grid in zip(seen, maps, strict=True):
        torch.testing.assert_close(grid[0, :, 3, 5], tokens[0, 1 + 3 * 14 + 5])


def test_mae_layout_drops_its_decoder_and_the_arguments_are_no_code(tmp_path: Path) -> None:
    model: Any = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0)
    state = model.state_dict() | {
        "mask_token": torch.zeros(1, 1, 64),
        "decoder_embed.weight": torch.zeros(64, 192),
        "decoder_pos_embed": torch.zeros(1, 197, 64),
    }
    content = {"model": state, "args": argparse.Namespace(lr=1e-3, out=Path("x")), "epoch": 3}
    loaded = from_file("vit_tiny_patch16_224", content, tmp_path / "mae.pth")
    assert torch.equal(loaded.module.backbone.pos_embed, model.pos_embed)  # type: ignore[attr-defined]


def test_fine_tuned_mae_pools_the_mean(tmp_path: Path) -> None:
    model: Any = timm.create_model("vit_tiny_patch16_224", pretrained=False, global_pool="avg").eval()
    loaded = from_file("vit_tiny_patch16_224", {"model": model.state_dict()}, tmp_path / "gap.pth")
    images = rand(1, 3, 224, 224)
    with torch.inference_mode():
        expected = model.forward_head(model.forward_features(images), pre_logits=True)
        torch.testing.assert_close(loaded.module(images).pooled, expected)


def test_preprocessing_is_the_models_own(tmp_path: Path) -> None:
    for name in ("resnet10t", "vit_tiny_patch16_224"):
        model = timm.create_model(name, pretrained=False)
        config = resolve_model_data_config(model, use_test_size=True)
        preprocess = from_file(name, model.state_dict(), tmp_path / "m.pth").module.preprocess
        assert (preprocess.channels, preprocess.size, preprocess.size) == config["input_size"]
        assert (preprocess.mean, preprocess.std) == (config["mean"], config["std"])
        assert preprocess.crop_pct == config["crop_pct"]
        assert preprocess.interpolation == config["interpolation"]


def test_weights_of_another_architecture_are_named(tmp_path: Path) -> None:
    state = timm.create_model("resnet10t", pretrained=False).state_dict()
    with pytest.raises(
        UserError, match=r"do not fit VisionTransformer: \d+ missing: cls_token.*unexpected: conv1"
    ) as e:
        from_file("vit_tiny_patch16_224", state, tmp_path / "m.pth")
    assert "\n" not in str(e.value)
    state = timm.create_model("vit_tiny_patch16_384", pretrained=False).state_dict()
    with pytest.raises(UserError, match=r"pos_embed is \[1, 577, 192\] there and \[1, 197, 192\] here"):
        from_file("vit_tiny_patch16_224", state, tmp_path / "m.pth")


def test_unknown_model_and_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"did you mean .*vit_tiny_patch16_224"):
        load_encoder("timm:vit_tiny_patch16_225", synthetic=False)
    with pytest.raises(UserError, match="timm needs a model name"):
        load_encoder("timm", synthetic=False)

    def offline(*args: object, **kwargs: object) -> None:
        raise ConnectionError("no route to host\nand more")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UserError, match="without network, pass a file: timm:resnet10t@FILE"):
        load_encoder("timm:resnet10t", synthetic=False)
