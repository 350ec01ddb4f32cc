"""Weights to begin from: what they lie in, what fits, and what is said of them."""

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from cxrbench.encoder import EncoderCard
from cxrbench.encoders.backbones.checkpoint import encoder_facts, write_encoder
from cxrbench.encoders.backbones.encoder import gray_preprocess
from cxrbench.encoders.backbones.vit import ViT, ViTConfig
from cxrbench.encoders.pretraining.initial import fill, read_initial
from cxrbench.errors import UserError

pytestmark = pytest.mark.usefixtures("one_thread")
COLOUR = ViTConfig(64, 4, 1, 8, 32, 3)
GRAY = replace(COLOUR, channels=1)
SMALL_TIMM = {"embed_dim": 64, "depth": 4, "num_heads": 1, "img_size": 32, "patch_size": 8}


def vit(config: ViTConfig = COLOUR, seed: int = 1) -> ViT:
    torch.manual_seed(seed)
    return ViT(config).eval()


def timm_vit(**more: Any) -> nn.Module:
    torch.manual_seed(2)
    settings: dict[str, Any] = SMALL_TIMM | more
    return timm.create_model("vit_base_patch16_224", pretrained=False, **settings).eval()


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


def decoder() -> dict[str, Tensor]:
    return {"decoder_embed.weight": torch.zeros(2, 2), "mask_token": torch.zeros(1, 1, 2)}


LAYOUTS = {
    "bare": lambda state: state,
    "MAE": lambda state: {"model": state | decoder(), "optimizer": {"lr": 0.1}, "epoch": 7},
    "DeiT": lambda state: {"model": state | {"head.weight": torch.zeros(10, 64), "head.bias": torch.zeros(10)}},
    "I-JEPA": lambda state: {
        "target_encoder": prefixed(state, "module."),
        "encoder": prefixed({name: value + 1 for name, value in state.items()}, "module."),
        "predictor": {"module.mask_token": torch.zeros(1)},
        "epoch": 3,
    },
    "Lightning": lambda state: {"state_dict": prefixed(state | decoder(), "model."), "epoch": 3},
    "RadJEPA": lambda state: {"encoder": prefixed(state, "module.encoder.")},
    "FaNe": lambda state: {
        "state_dict": prefixed(state, "image_encoder.model.")
        | {"tau": torch.zeros(()), "text_encoder.x": torch.ones(1)}
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_vit_begins_from_every_published_layout(layout: str, tmp_path: Path) -> None:
    """The network then says of images what the weights' own network says."""
    source = vit(replace(COLOUR, class_token=layout not in ("I-JEPA", "RadJEPA")))
    torch.save(LAYOUTS[layout](source.state_dict()), tmp_path / "weights.pth")
    initial = read_initial(str(tmp_path / "weights.pth"))
    assert initial.config == source.config
    images = torch.randn(2, 3, 32, 32)
    begun = vit(source.config, seed=5)
    assert fill([begun], initial) == []
    with torch.no_grad():
        assert torch.equal(begun(images)[0], source(images)[0])
    gray = vit(replace(source.config, channels=1), seed=5)
    assert fill([gray], initial) == ["its patch kernels are summed over the three channels"]
    with torch.no_grad():
        written = source(images[:, :1].expand(-1, 3, -1, -1))[0]
        torch.testing.assert_close(gray(images[:, :1])[0], written, atol=1e-5, rtol=1e-5)


def test_learnt_positions_are_taken_over_and_stay_fixed(tmp_path: Path) -> None:
    source = timm_vit()
    torch.save(source.state_dict(), tmp_path / "deit.pth")
    begun = vit()
    assert any("positions are not sin-cos" in line for line in fill([begun], read_initial(str(tmp_path / "deit.pth"))))
    assert not begun.pos_embed.requires_grad
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = source.forward_features(images)  # type: ignore[operator]
        torch.testing.assert_close(begun(images)[0], expected, atol=1e-5, rtol=1e-5)


def test_a_fine_tuned_vit_brings_the_norm_that_it_has(tmp_path: Path) -> None:
    state = vit().state_dict()
    tuned = {name.replace("norm.", "fc_norm.") if name.startswith("norm.") else name: t for name, t in state.items()}
    torch.save({"model": tuned}, tmp_path / "tuned.pth")
    begun = vit(seed=5)
    fill([begun], read_initial(str(tmp_path / "tuned.pth")))
    assert torch.equal(begun.norm.weight, state["norm.weight"])


def test_ours_bring_their_card_and_how_images_were(tmp_path: Path) -> None:
    card = EncoderCard("mae", "Apache-2.0", ("phantom:nih",), synthetic=True)
    preprocess = replace(gray_preprocess(GRAY), mean=(0.4,))
    facts = encoder_facts("mae", asdict(GRAY), preprocess, card)
    write_encoder(tmp_path / "mae.safetensors", vit(GRAY).state_dict(), facts, half=True)
    initial = read_initial(str(tmp_path / "mae.safetensors"))
    assert (initial.card, initial.preprocess, initial.config) == (card, preprocess, GRAY)
    assert initial.facts["of"] == "mae"
    assert len(initial.facts["sha256"]) == 16


def test_a_resnet_begins_from_torchvisions_layout(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source, begun = resnet18(), resnet18()
    begun.fc = nn.Identity()  # type: ignore[assignment]
    torch.save(source.state_dict(), tmp_path / "resnet18.pth")
    initial = read_initial(str(tmp_path / "resnet18.pth"))
    assert initial.config is None
    assert fill([begun], initial) == []
    for name, value in begun.state_dict().items():
        assert torch.equal(value, source.state_dict()[name]), name
    with pytest.raises(UserError, match="holds no ViT with timm's parameter names, as 64x4p8s32 is"):
        fill([vit()], initial)


WRONG: dict[str, tuple[ViTConfig, str]] = {
    "width": (replace(COLOUR, width=128, heads=2), "is a ViT 128x4p8s32, not 64x4p8s32: pass it as --arch 128x4p8s32"),
    "depth": (replace(COLOUR, depth=5), "is a ViT 64x5p8s32, not 64x4p8s32"),
    "patch": (replace(COLOUR, patch=16), "is a ViT 64x4p16s32, not 64x4p8s32"),
    "size": (replace(COLOUR, size=48), "is a ViT 64x4p8s48, not 64x4p8s32"),
    "cls": (replace(COLOUR, class_token=False), "without a CLS token, and this method's is one with"),
    "norms": (replace(COLOUR, qk_norm=True), "with norms of queries and keys, and this method's is one without"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit_is_one_line(what: str, tmp_path: Path) -> None:
    config, message = WRONG[what]
    torch.save(vit(config).state_dict(), tmp_path / "weights.pth")
    begun = vit()
    before = {name: value.clone() for name, value in begun.state_dict().items()}
    with pytest.raises(UserError, match=message) as refused:
        fill([begun], read_initial(str(tmp_path / "weights.pth")))
    assert "\n" not in str(refused.value)
    assert all(torch.equal(value, before[name]) for name, value in begun.state_dict().items())


def test_a_gray_file_does_not_fit_three_channels(tmp_path: Path) -> None:
    torch.save(vit(GRAY).state_dict(), tmp_path / "gray.pth")
    with pytest.raises(UserError, match="is of 1 channels, not 3"):
        fill([vit()], read_initial(str(tmp_path / "gray.pth")))


def test_a_lacking_weight_is_named(tmp_path: Path) -> None:
    state = vit().state_dict()
    del state["blocks.2.mlp.fc1.bias"]
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"1 missing: blocks.2.mlp.fc1.bias"):
        fill([vit()], read_initial(str(tmp_path / "weights.pth")))


# timm: the hub cannot be reached in a test; timm's own way to read a file in its place is its real code


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet18.tv_in1k"])
def test_timms_weights_are_converted(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    source = timm.create_model(name, pretrained=False)
    torch.save(source.state_dict(), tmp_path / "published.pth")
    create = partial(timm.create_model, pretrained_cfg_overlay={"file": str(tmp_path / "published.pth")})
    monkeypatch.setattr("cxrbench.encoders.families.timm.timm.create_model", create)
    initial = read_initial(f"timm:{name}")
    assert initial.card.method == name
    heads = ("head.", "fc.")
    expected = {key: value for key, value in source.state_dict().items() if not key.startswith(heads)}
    assert initial.state.keys() == expected.keys()
    assert all(torch.equal(initial.state[key], value) for key, value in expected.items())
    assert (initial.config is None) == name.startswith("resnet")
    if initial.config is not None:
        begun = vit(initial.config, seed=5)
        fill([begun], initial)
        images = torch.randn(1, 3, 224, 224)
        with torch.no_grad():
            whole: Any = source.eval()
            features = whole.forward_features(images)
            torch.testing.assert_close(begun(images)[0], features, atol=1e-4, rtol=1e-4)


def test_without_the_hub_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cxrbench.encoders.families.hub.reachable", lambda endpoint: False)
    with pytest.raises(UserError, match=r"cannot fetch the weights of timm:resnet18.tv_in1k .*pass a file"):
        read_initial("timm:resnet18.tv_in1k")
