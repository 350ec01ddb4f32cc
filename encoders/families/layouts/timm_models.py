"""Published files of networks that timm has, under other names or beside other parts: Ark+, EVA-X, CheXFound."""

import re
from pathlib import Path
from typing import Any, cast

import torch
from timm.layers.mlp import SwiGLUPacked
from timm.models import eva, swin_transformer, vision_transformer
from torch import Tensor, nn

from cxrbench.encoder import Attentions, Features
from cxrbench.encoders.families.layouts.files import encoder_state
from cxrbench.encoders.families.published.entry import PublishedEncoder
from cxrbench.encoders.families.timm import TimmEncoder, from_file
from cxrbench.errors import UserError
from cxrbench.files.checkpoints import leave_out, load_strict

ARK_HEADS = ("projector.", "omni_heads.", "head.", "head_dist.")
EVA_HEADS = ("head.", "lm_head.", "mask_token")
DINO_HEADS = ("dino_head.", "ibot_head.", "mask_token")
EVA_WIDTH, DINO_WIDTH = 64, 64  # of an attention head; files do not say how many there are


class StretchedImages(TimmEncoder):
    """Every image is stretched to [0, 1] before it is normalized, as CheXFound's transform does it."""

    def forward(self, images: Tensor) -> Features:
        """Embed [B, channels, size, size], normalized as ``preprocess`` says."""
        return super().forward(self._stretched(images))

    def attentions(self, images: Tensor) -> Attentions:
        """As of ``TimmEncoder``."""
        return super().attentions(self._stretched(images))

    def _stretched(self, images: Tensor) -> Tensor:
        mean, std = (
            torch.tensor(v, dtype=images.dtype, device=images.device)[:, None, None]
            for v in (self.preprocess.mean, self.preprocess.std)
        )
        pixels = images * std + mean
        low, high = pixels.amin(dim=(2, 3), keepdim=True), pixels.amax(dim=(2, 3), keepdim=True)
        return ((pixels - low) / (high - low).clamp_min(1e-6) - mean) / std


def load_swin(entry: PublishedEncoder, path: Path) -> TimmEncoder:
    """Ark+: the teacher's Swin transformer, its projector and its six heads left out. Raises UserError."""
    state = leave_out(encoder_state(entry, path), ARK_HEADS, path)
    kernel = _needed(state, "patch_embed.proj.weight", path)
    depths = [
        len({n.split(".")[3] for n in state if n.startswith(f"layers.{k}.blocks.")})
        for k in range(len({n.split(".")[1] for n in state if n.startswith("layers.")}))
    ]
    window = (round(len(_needed(state, "layers.0.blocks.0.attn.relative_position_bias_table", path)) ** 0.5) + 1) // 2
    heads = [state[f"layers.{k}.blocks.0.attn.relative_position_bias_table"].shape[1] for k in range(len(depths))]
    net = swin_transformer.SwinTransformer(
        img_size=entry.preprocess.size, patch_size=kernel.shape[-1], in_chans=kernel.shape[1], num_classes=0,
        embed_dim=len(kernel), depths=tuple(depths), num_heads=tuple(heads), window_size=window,
    )  # fmt: skip
    load_strict(net, swin_transformer.checkpoint_filter_fn(dict(state), net), path)
    return TimmEncoder(net, entry.preprocess, entry.card)


def load_eva(entry: PublishedEncoder, path: Path) -> TimmEncoder:
    """EVA-X: EVA-02's transformer, read at the normalized mean of its patches. Raises UserError."""
    state = encoder_state(entry, path)
    kernel = _needed(state, "patch_embed.proj.weight", path)
    width, grid = len(kernel), entry.preprocess.size // kernel.shape[-1]
    net = eva.Eva(
        img_size=entry.preprocess.size, patch_size=kernel.shape[-1], in_chans=kernel.shape[1], num_classes=0,
        embed_dim=width, depth=_depth(state), num_heads=max(1, width // EVA_WIDTH), mlp_ratio=4 * 2 / 3,
        swiglu_mlp=True, use_rot_pos_emb=True, ref_feat_shape=(grid, grid),
        scale_mlp=entry.options.get("scale_mlp", False), qkv_fused=entry.options.get("qkv_fused", True),
    )  # fmt: skip
    named: dict[str, Tensor] = eva.checkpoint_filter_fn(dict(state), net)
    load_strict(net, leave_out(named, EVA_HEADS, path), path)
    return TimmEncoder(net, entry.preprocess, entry.card)


def load_dinov2(entry: PublishedEncoder, path: Path) -> TimmEncoder:
    """CheXFound: the teacher of DINOv2's code with SwiGLU, registers and chunked blocks. Raises UserError."""
    state = leave_out(encoder_state(entry, path), DINO_HEADS, path)
    state = {re.sub(r"^blocks\.\d+\.(\d+)\.", r"blocks.\1.", name): value for name, value in state.items()}
    kernel = _needed(state, "patch_embed.proj.weight", path)
    registers = _needed(state, "register_tokens", path).shape[1]
    packed = _needed(state, "blocks.0.mlp.w12.weight", path)
    width, swiglu = len(kernel), cast(type[nn.Module], SwiGLUPacked)
    net = vision_transformer.VisionTransformer(
        img_size=entry.preprocess.size, patch_size=kernel.shape[-1], in_chans=kernel.shape[1], num_classes=0,
        embed_dim=width, depth=_depth(state), num_heads=max(1, width // DINO_WIDTH), mlp_ratio=len(packed) / width,
        init_values=1e-5, reg_tokens=registers, no_embed_class=True, mlp_layer=swiglu, act_layer=nn.SiLU,
        norm_layer=_layer_norm,
    )  # fmt: skip
    converted: dict[str, Tensor] = vision_transformer._convert_dinov2(dict(state), net)
    load_strict(net, converted, path)
    return StretchedImages(net, entry.preprocess, entry.card)


def load_timm(entry: PublishedEncoder, path: Path) -> TimmEncoder:
    """A model of timm with the published file of its weights; its classifier is left out. Raises UserError."""
    return TimmEncoder(from_file(entry.id, path), entry.preprocess, entry.card)


def _layer_norm(width: int, **options: Any) -> nn.LayerNorm:
    return nn.LayerNorm(width, eps=1e-6, **options)


def _depth(state: dict[str, Tensor]) -> int:
    return 1 + max((int(m[1]) for name in state if (m := re.match(r"blocks\.(\d+)\.", name))), default=0)


def _needed(state: dict[str, Tensor], name: str, path: Path) -> Tensor:
    if name not in state:
        has = ", ".join(sorted(state)[:4])
        raise UserError(f"{path} lacks {name} (it has {has}, ...): it is not in the published layout")
    return state[name]
