"""What a dry run prints of MVMAE and MVMAE-V2T are the numbers of what training makes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from cxrbench.encoders.mvmae import augment
from cxrbench.encoders.mvmae.losses import beta_at
from cxrbench.encoders.mvmae.objective import MVMAE
from cxrbench.encoders.mvmae.options import V2T_OPTIONS
from cxrbench.encoders.pretraining.method import Batch
from cxrbench.encoders.text.tokens import Vocabulary
from support.measured import ARCH, IMAGES, WIDE, deviation, draw, method, of_crops, of_vit, share, start_of, told

pytestmark = pytest.mark.usefixtures("one_thread")
BLUEPRINT = method("mvmae-v2t").configure(WIDE, {})


def views(n: int) -> dict[str, Tensor]:
    return {"present": torch.ones(n, 1, dtype=torch.bool)}


def between(holds: Callable[[float], bool]) -> float:
    """Where in a run something begins to hold."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def annealing() -> dict[str, Any]:
    """By where β leaves 0, where it is half of the last, and its slope there, where a stretched sigmoid is steepest."""
    begins, middle = between(lambda p: beta_at(p, 1.0) > 0), between(lambda p: beta_at(p, 1.0) >= 0.5)
    slope = (beta_at(middle + 1e-4, 1.0) - beta_at(middle - 1e-4, 1.0)) / 2e-4
    steepness = between(
        lambda k: slope <= 100 * k / 4 / (1 - 2 / (1 + float(torch.exp(torch.tensor(100 * k * (1 - middle))))))
    )
    return {
        "beta_warmup": pytest.approx(begins, abs=1e-6),
        "beta_middle": pytest.approx(middle, abs=1e-6),
        "beta_steepness": pytest.approx(100 * steepness, rel=1e-3),
    }


def of_jitter(objective: MVMAE, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    factors: list[Tensor] = []

    def white(images: Tensor, brightness: Tensor, contrast: Tensor, first: Tensor) -> Tensor:
        factors.extend([brightness, contrast])
        return torch.ones_like(images)

    with monkeypatch.context() as patch:
        patch.setattr(augment, "jitter", white)
        patch.setattr(
            augment, "crop_resize", lambda images, *_, size, **__: torch.zeros_like(images[..., :size, :size])
        )
        size = objective.preprocess.size
        done = objective.augmented(Batch(torch.zeros(IMAGES, 1, 1, size, size), views(IMAGES)), draw())
    white_ones = objective.plain(done.images)[:, 0, 0, 0, 0] > 0.5
    return {
        "jitter_strength": pytest.approx(float((torch.cat(factors) - 1).abs().max()), rel=0.01),
        "jitter_chance": share(white_ones),
    }


@pytest.mark.parametrize("variant", ["fixed", "paper", "official"])
def test_of_mvmae_v2t(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    vocabulary = Vocabulary(size=50, start=1, end=2, padding=0)
    objective = MVMAE(BLUEPRINT.backbone, V2T_OPTIONS.read({"variant": variant}), vocabulary)
    text: Any = objective.text
    layers: list[Any] = list(text.layers)
    decoder: Any = objective.decoder
    whole = of_vit(objective, sincos=False) | annealing() | of_jitter(objective, monkeypatch)
    whole |= of_crops(monkeypatch, objective, "cxrbench.encoders.mvmae.augment", views)
    whole |= {
        "token_std": deviation(decoder.pos_embed),
        "decoder_width": decoder.mask_token.shape[2],
        "decoder_heads": decoder.blocks[0].attn.num_heads,
    }
    for tokens in (objective.backbone.pos_embed[:, 1:], objective.backbone.modality, decoder.modality):
        assert whole["token_std"] == float(tokens.detach().std())
    qkv, patches = decoder.blocks[0].attn.qkv, objective.backbone.patch_embed.proj
    assert start_of(qkv.weight, qkv.in_features) == whole["matrix_start"]
    assert start_of(patches.weight.flatten(1), ARCH.patch**2) == whole["matrix_start"]
    assert bool(qkv.bias.any()) == bool(patches.bias.any()) == (variant != "fixed")  # type: ignore[union-attr]
    assert told("mvmae", variant=variant) == whole
    whole |= {
        "text_heads": layers[0].self_attn.num_heads,
        "text_mlp_ratio": layers[0].linear1.out_features / layers[0].linear1.in_features,
        "text_dropout": layers[0].dropout.p,
        "text_norm_eps": layers[0].norm1.eps,
        "word_std": deviation(text.words.weight),
        "memory_std": deviation(text.memory_positions),
    }
    if text.positions is not None:
        whole["word_position_std"] = deviation(text.positions)
    assert text.norm.eps == layers[0].norm3.eps == whole["text_norm_eps"]
    assert {layer.dropout3.p for layer in layers} | {layer.self_attn.dropout for layer in layers} == {
        whole["text_dropout"]
    }
    assert told("mvmae-v2t", variant=variant) == whole


def test_the_annealing_is_that_of_the_code() -> None:
    w, m, k = (told("mvmae")[f"beta_{part}"] for part in ("warmup", "middle", "steepness"))
    assert (w, m, k) == (50 / 500, (50 + 500) / 2 / 500, 0.02 * 500)  # the code's epochs
