"""What a dry run prints of methods on single images are the numbers of the networks and crops that training makes."""

from typing import Any

import pytest
import torch

from cxrbench.encoders import mae, spcl, supervised
from cxrbench.encoders.pretraining.engine.plan import PretrainConfig
from cxrbench.encoders.pretraining.engine.recipe_lines import recipe_lines
from cxrbench.encoders.radjepa import multiblock
from cxrbench.encoders.radjepa import objective as radjepa
from support.measured import ARCH, WIDE, deviation, draw, method, of_crops, of_vit, start_of, told

pytestmark = pytest.mark.usefixtures("one_thread")
PATCHED = "192x4p14s112"


class Labels:
    labels = tuple("abcdefgh")


def test_of_spcl(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    objective = spcl.SPCL(ARCH, spcl.SPCLOptions(augment=True))
    backbone = of_vit(objective.backbone) | {"token_std": deviation(objective.backbone.cls_token)}  # type: ignore[arg-type]
    assert told("spcl", augment=True) == backbone | of_crops(monkeypatch, objective)
    assert told("spcl") == backbone


def test_of_supervised(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    objective = supervised.Supervised(ARCH, supervised.SupervisedOptions(augment=True), Labels())  # type: ignore[arg-type]
    whole = of_vit(objective.backbone) | {
        "token_std": deviation(objective.backbone.cls_token),  # type: ignore[arg-type]
        "head_std": deviation(objective.head.weight),
    }
    assert told("supervised", augment=True) == whole | of_crops(monkeypatch, objective)
    assert told("supervised", augment=False) == whole


def test_of_mae(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    objective = mae.MAE(ARCH, mae.MAEOptions(augment=True, norm_pix=True))
    decoder: Any = objective.decoder
    flat = mae.normalise_patches(torch.tensor([[0.0, 1e-3]], dtype=torch.float64))  # of variance 5e-7
    whole = of_vit(objective) | {
        "token_std": deviation(decoder.mask_token),
        "decoder_width": decoder.embed.out_features,
        "decoder_depth": len(decoder.blocks),
        "decoder_heads": decoder.blocks[0].attn.num_heads,
        "pixel_eps": pytest.approx((5e-4 / float(flat[0, 1])) ** 2 - 5e-7, rel=1e-3),
    }
    assert told("mae", augment=True, norm_pix=True) == whole | of_crops(monkeypatch, objective)
    published = told("mae", arch="base", variant="official")
    assert [published[f"decoder_{part}"] for part in ("width", "depth", "heads")] == [512, 8, 16]  # He et al., 2022
    assert "pixel_eps" not in published


@pytest.mark.parametrize("variant", ["fixed", "paper", "official"])
def test_of_radjepa(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    given = {"variant": variant, "variance": 0.1, "augment": True}
    options = radjepa.OPTIONS.read(given)
    objective = radjepa.RadJEPA(method("radjepa").configure(PATCHED, given).backbone, options)
    predictor: Any = objective.predictor
    blocks = objective.blocks
    whole = of_vit(objective, start=False) | of_crops(monkeypatch, objective)
    whole |= {
        "token_std": deviation(predictor.mask_token),
        "block_targets": objective.masks(2, draw(), torch.device("cpu")).targets.shape[1],
        "target_scale": blocks.target_scale,
        "target_aspect": blocks.target_aspect,
        "context_scale": blocks.context_scale,
        "min_keep": blocks.kept,
        "tries": tries(blocks, monkeypatch),
        "predictor_width": predictor.embed.out_features,
        "predictor_heads": predictor.blocks[0].attn.num_heads,
        "variance_target": 1.0,
        "variance_eps": pytest.approx(variance_eps(), rel=1e-3),
    }
    first: Any = objective.backbone.blocks[0]
    if variant == "fixed":
        whole["matrix_start"] = start_of(first.attn.qkv.weight, 192)
    else:
        whole["start_std"] = deviation(first.mlp.fc1.weight)
    if options.loss == "smooth_l1":  # beyond β it is the error less β / 2
        whole["smooth_beta"] = 2 * (5 - float(radjepa.latent_loss(torch.tensor([5.0]), torch.zeros(1), "smooth_l1")))
    if options.normalise_targets:  # -a and a, of variance a² = 1e-5, are divided by the root of a² + eps
        small = torch.tensor([[[-1.0, 1.0]]]) * 1e-5**0.5
        wanted = float(objective.wanted(small, torch.tensor([[[0]]]))[0, 0, 1])
        whole["target_eps"] = pytest.approx(1e-5 / wanted**2 - 1e-5, rel=1e-3)
    assert told("radjepa", PATCHED, variant, variance=0.1, augment=True) == whole


def variance_eps() -> float:
    """Of embeddings that are all alike: a hinge of 1 less the root of it."""
    hinge, _ = radjepa.variance_covariance(torch.zeros(3, 2, dtype=torch.float64))
    return (1 - float(hinge)) ** 2


def tries(blocks: multiblock.MultiBlock, monkeypatch: pytest.MonkeyPatch) -> float:
    """How often a context is placed before one target more may be in it, where targets cover all patches."""
    calls = 0

    def everywhere(blocks: multiblock.MultiBlock, size: object, shape: tuple[int, ...], generator: object) -> Any:
        nonlocal calls
        calls += 1
        return torch.arange(blocks.side**2).expand(*shape, -1)

    with monkeypatch.context() as patch:
        patch.setattr(multiblock, "place", everywhere)
        found = multiblock.sample(blocks, 1, torch.Generator())
    assert found.relaxed == blocks.targets
    return (calls - 2) / blocks.targets  # the targets themselves, and the place that is found in the end


def test_a_depth_of_0_is_told_as_the_one_that_is_meant() -> None:
    objective = radjepa.RadJEPA(
        method("radjepa").configure(PATCHED, {}).backbone, radjepa.OPTIONS.read({"variant": "fixed"})
    )

    def line(**options: Any) -> tuple[str, str]:
        lines, _ = recipe_lines(PretrainConfig("radjepa", arch=PATCHED, options=options))
        return next((one.value, one.source) for one in lines if one.name == "predictor_depth")

    assert line()[0] == f"{len(objective.predictor.blocks)}, half the encoder's (0)" == "2, half the encoder's (0)"
    assert line(predictor_depth=3) == ("3", "given; the recipe has 2, half the encoder's (0)")


def test_what_weights_to_begin_from_replace_is_not_told() -> None:
    def told_of(name: str, arch: str, init: str, recipe: str = "fixed") -> set[str]:
        lines, _ = recipe_lines(PretrainConfig(name, arch=arch, init=init, recipe=recipe))
        return {line.name for line in lines if line.constant} & {"matrix_start", "token_std", "position_base"}

    assert told_of("spcl", WIDE, "random") == {"matrix_start", "token_std", "position_base"}
    assert told_of("spcl", WIDE, "timm:some") == set()
    assert told_of("mae", WIDE, "timm:some") == {"matrix_start", "token_std", "position_base"}  # the decoder's
    assert told_of("fane", "base", "", "official") == set()  # DeiT's
    assert told_of("fane", "base", "random", "official") == {"matrix_start", "token_std"}
