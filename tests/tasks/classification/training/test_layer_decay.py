"""Learning rates by depth, against timm's."""

from typing import Any

import pytest
import timm
from timm.models import group_parameters
from timm.optim import param_groups_layer_decay
from torch import nn

from cxrbench.encoders.backbones.vit import ViT, ViTConfig
from cxrbench.tasks.classification.training.layer_decay import layer_decay_groups, layer_of


def by_name(module: nn.Module, groups: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    names = {id(p): name for name, p in module.named_parameters()}
    return {
        names[id(p)]: (round(g["lr_scale"], 9), g["weight_decay"])
        for g in groups
        for p in g["params"]
        if id(p) in names
    }


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("vit_tiny_patch16_224", {"embed_dim": 24, "depth": 5, "num_heads": 2, "img_size": 32}),
        ("deit_tiny_distilled_patch16_224", {"embed_dim": 24, "depth": 3, "num_heads": 2, "img_size": 32}),
    ],
)
def test_vit_groups_equal_timms_but_for_the_last_norm(name: str, shape: dict[str, Any]) -> None:
    """BEiT and MAE (util/lr_decay.py) put the last norm with the head, timm with the last block: ours is MAE's."""
    whole: Any = timm.create_model(name, num_classes=2, **shape)
    timms = by_name(whole, param_groups_layer_decay(whole, 0.05, whole.no_weight_decay(), layer_decay=0.55))
    model: Any = timm.create_model(name, num_classes=0, **shape)
    ours = by_name(model, layer_decay_groups(model, nn.Linear(24, 2), layer_decay=0.55, weight_decay=0.05))
    norm = {"norm.weight", "norm.bias"}
    assert {n: v for n, v in ours.items() if n not in norm} == {n: timms[n] for n in ours if n not in norm}
    assert {ours[n] for n in norm} == {(1.0, 0.0)}
    assert timms["head.weight"] == (1.0, 0.05)


@pytest.mark.parametrize("name", ["resnet10t", "test_convnext", "test_efficientnet"])
def test_cnn_stages_equal_timms_coarse_groups(name: str) -> None:
    model: Any = timm.create_model(name, num_classes=0)
    layers, top = layer_of(model)
    timms = group_parameters(model, model.group_matcher(coarse=True), reverse=True)
    stages = {n: layer for n, layer in layers.items() if 0 < layer < top}
    assert len(set(stages.values())) == top - 1 >= 4
    for one, layer in stages.items():  # within the stages: the same partition, in the same order
        assert [timms[other] for other, peer in stages.items() if peer == layer] == [timms[one]] * list(
            stages.values()
        ).count(layer)
    deepest = {layer: timms[n] for n, layer in stages.items()}
    assert [deepest[k] for k in sorted(deepest)] == sorted(deepest.values())
    stem = [n for n, layer in layers.items() if layer == 0]
    assert stem
    assert all(timms[n] <= min(deepest.values()) for n in stem)


def test_our_own_vit_and_its_head() -> None:
    model = ViT(ViTConfig(24, 4, 2, size=32))
    head = nn.Linear(24, 3)
    groups = layer_decay_groups(model, head, layer_decay=0.5, weight_decay=0.1)
    scales = by_name(model, groups)
    assert scales["cls_token"] == (0.5**5, 0.0)
    assert scales["patch_embed.proj.weight"] == (0.5**5, 0.1)
    assert scales["blocks.0.attn.qkv.weight"] == (0.5**4, 0.1)
    assert scales["blocks.3.mlp.fc1.bias"] == (0.5, 0.0)
    assert scales["norm.weight"] == (1.0, 0.0)
    assert by_name(head, groups) == {"weight": (1.0, 0.1), "bias": (1.0, 0.0)}
    everything = {id(p) for m in (model, head) for p in m.parameters()}
    assert {id(p) for g in groups for p in g["params"]} == everything
    assert sum(len(g["params"]) for g in groups) == len(everything)
    decayed = layer_decay_groups(model, head, layer_decay=0.5, weight_decay=0.1, decay_all=True)
    assert {g["weight_decay"] for g in decayed} == {0.1}


def test_names_as_transformers_gives_them_and_no_backbone_at_all() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embeddings = nn.Linear(2, 2)
            self.encoder = nn.Module()
            self.encoder.layer = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
            self.layernorm = nn.LayerNorm(2)

    layers, top = layer_of(Outer())
    assert top == 4
    assert layers["embeddings.weight"] == 0
    assert [layers[f"encoder.layer.{i}.weight"] for i in range(3)] == [1, 2, 3]
    assert layers["layernorm.bias"] == 4
    assert layer_of(nn.Linear(2, 2)) == ({"weight": 0, "bias": 0}, 1)
