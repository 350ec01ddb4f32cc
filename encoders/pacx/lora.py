"""A ViT under LoRA: what stage 2 trains of it, how it becomes a plain ViT again, and the published layout of it."""

import copy
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn

from cxrbench.encoders.backbones.vit import ViT, infer_config
from cxrbench.files.checkpoints import leave_out, load_strict

TARGETS = ("qkv", "fc1", "fc2")
PUBLISHED = "cxr_encoder.base_model.model."  # of the backbone in a stage-2 checkpoint of the authors
PUBLISHED_ALPHA, PUBLISHED_EPS = 16, 1e-5  # a file does not say with which it was trained; the code does


def adapt(backbone: ViT, *, rank: int, alpha: float, dropout: float, norms: Literal["all", "final"]) -> PeftModel:
    """The backbone with LoRA on the matrices of every block but one (``attn.proj``), and only norms trained beside it.

    12 · rank · 14 D parameters at depth 12, and 2 D per norm: 1.20% and 0.04% of ViT-B at rank 8, where the paper says
    "less than 1%". LoRA starts as no change at all, dropout or not. The backbone itself is changed.
    """
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(TARGETS))  # type: ignore[arg-type]
    adapted = get_peft_model(backbone, config)  # type: ignore[arg-type]
    assert isinstance(adapted, PeftModel)
    for name, part in backbone.named_modules():
        if isinstance(part, nn.LayerNorm) and (norms == "all" or name == "norm"):
            part.requires_grad_(True)
    return adapted


def merged(adapted: PeftModel) -> ViT:
    """A copy as a plain ViT that computes the same: W + alpha / rank · B A where W was."""
    backbone: Any = copy.deepcopy(adapted)
    plain = backbone.merge_and_unload()
    assert isinstance(plain, ViT)
    return plain


def set_norm_eps(backbone: ViT, eps: float) -> ViT:
    """The same backbone with all its layer norms at ``eps``, and its configuration saying so."""
    for part in backbone.modules():
        if isinstance(part, nn.LayerNorm):
            part.eps = eps
    backbone.config = replace(backbone.config, norm_eps=eps)
    return backbone


def is_published(state: Mapping[str, Tensor]) -> bool:
    """Whether this is the state dict of a stage-2 checkpoint of the authors."""
    return any(name.startswith(PUBLISHED) and ".lora_A." in name for name in state)


def read_published(state: Mapping[str, Tensor], path: Path) -> ViT:
    """The backbone in a stage-2 checkpoint of the authors, LoRA merged; heads and logit scale are left out.

    All that is of the backbone must fit. Raises UserError.
    """
    own = {name.removeprefix(PUBLISHED): t for name, t in state.items() if name.startswith(PUBLISHED)}
    own = leave_out(own, ("decoder", "mask_token"), path)
    plain = {re.sub(r"\.base_layer\.", ".", name): t for name, t in own.items() if ".lora_" not in name}
    backbone = set_norm_eps(ViT(infer_config(plain, path)), PUBLISHED_EPS)
    rank = next(len(t) for name, t in own.items() if ".lora_A." in name)
    adapted = adapt(backbone, rank=rank, alpha=PUBLISHED_ALPHA, dropout=0.0, norms="final")
    load_strict(adapted.base_model.model, own, path)  # type: ignore[arg-type]
    return merged(adapted)
