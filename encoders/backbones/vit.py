"""A plain Vision Transformer that can run on a subset of its patch tokens."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from timm.layers.patch_embed import PatchEmbed
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cxrbench.errors import UserError

NORM_EPS = 1e-6  # of the blocks' layer norms
MLP_RATIO, DROPPED = 4.0, 0.0  # width of a block's MLP, in its own; what dropout and stochastic depth leave out
POSITION_BASE = 10000.0  # of sin-cos positions
TOKEN_STD = 0.02  # of tokens and learnt positions at the start
MATRICES, TORCHS = "Xavier-uniform", "U(±n^-½) of n inputs"  # their start, ours and torch's
layer_norm = partial(nn.LayerNorm, eps=NORM_EPS)
HEAD_WIDTH = 64  # of published ViTs; a state dict does not say how many heads it has
HEADS_OF_HUGE = 16  # of ViT-H, 1280 wide: the exception


@dataclass(frozen=True)
class ViTConfig:
    """The shape of a ViT: channels of a token, blocks, attention heads, patch and image side in pixels.

    ``qk_norm``: layer norms on queries and keys; ``learned_positions``: trained instead of sin-cos, from N(0, .02²);
    ``norm_eps``: of the final layer norm.
    """

    width: int
    depth: int
    heads: int
    patch: int = 16
    size: int = 224
    channels: int = 3
    class_token: bool = True
    qk_norm: bool = False
    learned_positions: bool = False
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        if not self.size or self.size % self.patch:
            raise UserError(f"image size {self.size} is no multiple of the patch size {self.patch}: choose one that is")

    @property
    def side(self) -> int:
        """Patches along one side of the image."""
        return self.size // self.patch

    @property
    def tokens(self) -> int:
        """Patches of one image, N."""
        return self.side**2


ARCHITECTURES = {
    "nano": ViTConfig(192, 4, 3, size=128),
    "micro": ViTConfig(192, 6, 3, size=128),
    "tiny": ViTConfig(192, 12, 3),
    "small": ViTConfig(384, 12, 6),
    "base": ViTConfig(768, 12, 12),
    "large": ViTConfig(1024, 24, 16),
}


def parse_arch(text: str, *, channels: int, patch: int | None = None, class_token: bool = True) -> ViTConfig:
    """``NAME[-SIZE]``, e.g. ``base-512``, or ``WIDTHxDEPTHpPATCHsSIZE``, e.g. ``192x4p16s128``; heads are 64 wide.

    ``patch``: the method's own patch side, for named architectures; the image is then cut to a multiple of it. Raises
    UserError for an unknown name.
    """
    facts: dict[str, Any] = {"channels": channels, "class_token": class_token}
    if match := re.fullmatch(r"(\d+)x(\d+)p(\d+)s(\d+)", text):
        width, depth, own_patch, size = map(int, match.groups())
        if not width or width % HEAD_WIDTH or depth < 4 or not own_patch:
            raise UserError(f"architecture {text!r}: the width is a multiple of {HEAD_WIDTH}, the depth at least 4")
        return ViTConfig(width, depth, width // HEAD_WIDTH, own_patch, size, **facts)
    match = re.fullmatch(r"([a-z]+)(?:-(\d+))?", text)
    if match is None or match[1] not in ARCHITECTURES:
        known = ", ".join(f"{name} ({c.width} wide, {c.depth} deep, {c.size} px)" for name, c in ARCHITECTURES.items())
        raise UserError(
            f"unknown architecture {text!r}: choose one of {known}; add -SIZE for other images, e.g. base-512, or give "
            "WIDTHxDEPTHpPATCHsSIZE, e.g. 192x6p16s128"
        )
    named = ARCHITECTURES[match[1]]
    size = int(match[2]) if match[2] else named.size
    if patch is not None and not match[2]:
        size -= size % patch
    return replace(named, patch=patch or named.patch, size=size, **facts)


def sincos_positions(side: int, width: int) -> Tensor:
    """Fixed 2-D sin-cos position embedding [side², width], in the layout of MAE's checkpoints (He et al., 2022).

    Token (row y, column x), i < width/4, ω_i = 10000^(-4i/width): sin(x ω_i), cos(x ω_i), sin(y ω_i), cos(y ω_i), one
    quarter of the channels each.
    """
    omega = POSITION_BASE ** (-torch.arange(width // 4, dtype=torch.float64) / (width / 4))
    y, x = (axis.flatten() for axis in torch.meshgrid(*[torch.arange(side, dtype=torch.float64)] * 2, indexing="ij"))
    angles = (x[:, None] * omega, y[:, None] * omega)
    return torch.cat([f(angle) for angle in angles for f in (torch.sin, torch.cos)], dim=1).float()


def block(width: int, heads: int, qk_norm: bool = False) -> Block:
    """timm's transformer block: pre-norm, layer norms with eps 1e-6, MLP of four times the width, qkv biases."""
    drops = {"proj_drop": DROPPED, "attn_drop": DROPPED, "drop_path": DROPPED}
    return Block(width, heads, MLP_RATIO, qkv_bias=True, qk_norm=qk_norm, norm_layer=layer_norm, **drops)  # type: ignore[arg-type]


def initialise_linear(module: nn.Module) -> None:
    """MAE's initialisation: Xavier-uniform matrices, zero biases, in the module and all its parts."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


@torch.no_grad()
def initialise_as_torch(*networks: nn.Module) -> None:
    """Draw matrices and biases of all Linear and Conv2d parts anew as torch does: U(±n^-½), n numbers going in."""
    for network in networks:
        for part in network.modules():
            if isinstance(part, nn.Linear | nn.Conv2d):
                part.reset_parameters()


class ViT(nn.Module):
    """timm's blocks and timm's parameter names, with fixed sin-cos positions (the CLS token's are zero)."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config.size, config.patch, config.channels, config.width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width)) if config.class_token else None
        positions = sincos_positions(config.side, config.width)
        if config.class_token:
            positions = torch.cat([torch.zeros(1, config.width), positions])
        self.pos_embed: Tensor  # sin-cos ones are a buffer: saved under timm's name, never trained
        if config.learned_positions:
            self.pos_embed = nn.Parameter(torch.empty_like(positions[None]))
        else:
            self.register_buffer("pos_embed", positions[None])
        self.blocks = nn.ModuleList(block(config.width, config.heads, config.qk_norm) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.gradient_checkpointing = False
        self.map_blocks = tuple(math.ceil(config.depth * k / 4) for k in (1, 2, 3, 4))  # 1-based
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """MAE's initialisation: Xavier-uniform matrices (the patch projection too), zero biases, CLS N(0, .02²)."""
        initialise_linear(self)
        nn.init.xavier_uniform_(self.patch_embed.proj.weight.view(self.config.width, -1))
        nn.init.zeros_(self.patch_embed.proj.bias)  # type: ignore[arg-type]
        for token in (self.cls_token, self.pos_embed):
            if isinstance(token, nn.Parameter):
                nn.init.normal_(token, std=TOKEN_STD)

    def embed(self, images: Tensor) -> Tensor:
        """Images [B, channels, size, size] to patch tokens [B, N, D], raster order, with their positions added."""
        return self.patch_embed(images) + self.pos_embed[:, -self.config.tokens :]

    def with_class_token(self, tokens: Tensor) -> Tensor:
        """Put the CLS token, if there is one, before patch tokens [B, n, D]."""
        if self.cls_token is None:
            return tokens
        cls = self.cls_token + self.pos_embed[:, :1]
        return torch.cat([cls.expand(len(tokens), -1, -1).to(tokens.dtype), tokens], dim=1)

    def encode(self, tokens: Tensor) -> Tensor:
        """Any patch tokens of ``embed`` [B, n, D] to normalised tokens [B, 1 + n, D], CLS first, if there is one."""
        return self.norm(self.blocks_outputs(self.with_class_token(tokens))[-1])

    def blocks_outputs(self, tokens: Tensor) -> list[Tensor]:
        """The tokens after each block. With ``gradient_checkpointing`` blocks are run again in the backward pass."""
        outputs = []
        for each in self.blocks:
            again = self.gradient_checkpointing and torch.is_grad_enabled()
            tokens = checkpoint(each, tokens, use_reentrant=False) if again else each(tokens)  # type: ignore[assignment]
            outputs.append(tokens)
        return outputs

    def forward(self, images: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Whole images to normalised tokens [B, 1 + N, D] and the outputs of four evenly spaced blocks.

        The maps are 4 x [B, D, side, side], of 12 blocks those of 3, 6, 9 and 12 (1-based), before the final norm.
        """
        return self.read(self.embed(images))

    def read(self, tokens: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """As ``forward``, from the patch tokens [B, N, D] of ``embed``, in raster order."""
        outputs = self.blocks_outputs(self.with_class_token(tokens))
        side = self.config.side
        patches = [outputs[k - 1][:, -self.config.tokens :].transpose(1, 2) for k in self.map_blocks]
        return self.norm(outputs[-1]), tuple(p.reshape(len(tokens), -1, side, side) for p in patches)


def infer_config(state: Mapping[str, Tensor], path: object) -> ViTConfig:
    """The shape of the ViT whose timm-named state dict this is, its heads taken to be 64 wide. UserError if none."""
    missing = [key for key in ("patch_embed.proj.weight", "pos_embed", "norm.weight") if key not in state]
    if missing:
        raise UserError(
            f"{path} does not hold a ViT with timm's parameter names: it lacks {', '.join(missing)} and has "
            f"{', '.join(sorted(state)[:6])}, ...; pass weights of a plain ViT"
        )
    width, channels, patch, _ = state["patch_embed.proj.weight"].shape
    depth = 1 + max((int(key.split(".")[1]) for key in state if re.match(r"blocks\.\d+\.", key)), default=0)
    class_token = "cls_token" in state
    side = math.isqrt(state["pos_embed"].shape[1] - class_token)
    qk_norm = "blocks.0.attn.q_norm.weight" in state
    heads = HEADS_OF_HUGE if width == 1280 else max(1, width // HEAD_WIDTH)
    return ViTConfig(width, depth, heads, patch, side * patch, channels, class_token, qk_norm)
