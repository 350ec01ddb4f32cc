"""What a dry run prints of PaCX-MAE's stage 2 are the numbers of what training makes: backbone, heads, augmentation."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from cxrbench.encoder import NOTHING, EncoderCard
from cxrbench.encoders.backbones.checkpoint import TrainedBackbone
from cxrbench.encoders.backbones.encoder import gray_preprocess
from cxrbench.encoders.backbones.vit import ViT
from cxrbench.encoders.pacx import augment
from cxrbench.encoders.pacx.objective import PaCX
from cxrbench.encoders.pacx.options import OPTIONS
from cxrbench.encoders.pretraining.method import Batch
from support.measured import ARCH, IMAGES, deviation, draw, ends, of_affine, of_crops, of_vit, share, told

pytestmark = pytest.mark.usefixtures("one_thread")
ARCHITECTURE = "192x4p16s64"


def stage_2(**given: object) -> PaCX:
    torch.manual_seed(0)
    card = EncoderCard("none", "Apache-2.0", NOTHING)
    base = TrainedBackbone(dict(ViT(ARCH).state_dict()), ARCH, gray_preprocess(ARCH), card)
    return PaCX(base, OPTIONS.read(given), gray_preprocess(ARCH), {"ecg": 16, "labs": 8})


def of_augmentation(objective: PaCX, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What ``augmented`` asks of each of its parts for many images, which do nothing here but tell who is chosen."""
    asked: dict[str, tuple[Any, ...]] = {}
    chosen: list[Tensor] = []

    def recorded(name: str) -> Any:
        def part(images: Tensor, *numbers: Any) -> Tensor:
            asked[name] = numbers
            return images

        return part

    def choosing(which: Tensor, these: Tensor, those: Tensor) -> Tensor:
        chosen.append(which)
        return those

    size = objective.preprocess.size
    with monkeypatch.context() as patch:
        for name in ("affine", "jitter", "blur", "erase"):
            patch.setattr(augment, name, recorded(name))
        patch.setattr(augment, "chosen", choosing)
        patch.setattr(augment, "random_resized_crop", lambda images, *_, **__: images)
        objective.augmented(Batch(torch.zeros(IMAGES, 1, size, size), {}), draw())
    degrees, shift, zoom = asked["affine"]
    brightness, contrast, _ = asked["jitter"]
    sigma, kernel = asked["blur"]
    _, _, width, height = asked["erase"]
    erased = width > 0
    affine, jitter, blur = chosen
    return {
        "affine_chance": share(affine),
        "rotation": pytest.approx(float(degrees.abs().max()), rel=0.01),
        "shift": pytest.approx(float(shift.abs().max()), rel=0.01),
        "zoom": ends(zoom),
        "jitter_chance": share(jitter),
        "jitter_strength": pytest.approx(float((torch.cat([brightness, contrast]) - 1).abs().max()), rel=0.01),
        "blur_chance": share(blur),
        "blur_kernel": kernel,
        "blur_sigma": ends(sigma),
        "erase_chance": share(erased),
        "erased_area": ends((width * height)[erased]),
        "erased_ratio": ends((width / height)[erased]),
    }


@pytest.mark.parametrize("variant", ["fixed", "paper", "official"])
def test_of_stage_2(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = stage_2(variant=variant)
    parts = {
        name.split(".lora_A")[0].rpartition(".")[2] for name, _ in objective.named_parameters() if "lora_A" in name
    }
    head: Any = objective.project["image"]
    linear = head if variant == "paper" else head[1]
    whole = of_vit(objective.kept(), start=False)
    whole.pop("block_norm_eps")  # an option
    whole |= {
        "lora_layers": tuple(name for name in ("qkv", "proj", "fc1", "fc2") if name in parts),
        "head_std": deviation(linear.weight),
        "least_scale": pytest.approx(least_scale(objective)),
    }
    assert not linear.bias.any()
    if variant != "paper":
        assert head[0].p == OPTIONS.read({"variant": variant}).head_dropout
        images = torch.zeros(2, 1, 64, 64)
        whole |= {"head_norm_eps": head[2].eps} | of_augmentation(objective, monkeypatch)
        whole |= of_crops(monkeypatch, objective)
        whole["affine_filter"] = of_affine(monkeypatch, lambda: objective.augmented(Batch(images, {}), draw()))
    values = told("pacx", ARCHITECTURE, variant)
    assert {name: one for name, one in values.items() if not name.startswith(("labs_", "ecg_"))} == whole


def least_scale(objective: PaCX) -> float:
    """What the logit scale is where it is learnt to be next to nothing."""
    with torch.no_grad():
        objective.log_scale.fill_(math.log(1e-3))
        more = {"ecg": torch.randn(4, 16), "labs": torch.randn(4, 8)}
        has = {f"has_{name}": torch.ones(4, dtype=torch.bool) for name in more}
        return float(objective(Batch(torch.zeros(4, 1, 64, 64), more | has), draw()).logged["logit_scale"])
