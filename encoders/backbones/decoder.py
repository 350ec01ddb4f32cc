"""MAE's decoder: from the visible tokens, encoded, to the pixels of every patch (He et al., 2022)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cxrbench.encoders.backbones.masking import put_back
from cxrbench.encoders.backbones.vit import TOKEN_STD, ViTConfig, block, initialise_linear, layer_norm, sincos_positions

HEAD_WIDTH = 32  # 512 / 16, of MAE's decoder; the encoder's heads are 64 wide


@dataclass(frozen=True)
class DecoderConfig:
    """Channels of a token, blocks, attention heads."""

    width: int
    depth: int
    heads: int


def decoder_of(encoder: ViTConfig) -> DecoderConfig:
    """512 x 8 x 16 for encoders at least 768 wide, as published; two thirds of a smaller encoder's width and depth.

    The width is rounded down to whole heads of 32 channels: small 256 x 8 x 8, tiny 128 x 8 x 4, nano 128 x 2 x 4.
    """
    heads = max(1, min(512, encoder.width * 2 // 3) // HEAD_WIDTH)
    return DecoderConfig(heads * HEAD_WIDTH, max(1, min(8, encoder.depth * 2 // 3)), heads)


class MAEDecoder(nn.Module):
    """Blocks as the encoder's, of their own width, with fixed sin-cos positions (the CLS token's are zero)."""

    def __init__(self, encoder: ViTConfig, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Linear(encoder.width, config.width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, config.width))
        positions = torch.cat([torch.zeros(1, config.width), sincos_positions(encoder.side, config.width)])
        self.pos_embed: Tensor
        self.register_buffer("pos_embed", positions[None])
        self.blocks = nn.ModuleList(block(config.width, config.heads) for _ in range(config.depth))
        self.norm = layer_norm(config.width)
        self.predict = nn.Linear(config.width, encoder.patch**2 * encoder.channels)
        self.gradient_checkpointing = False
        initialise_linear(self)
        nn.init.normal_(self.mask_token, std=TOKEN_STD)

    def forward(self, encoded: Tensor, restore: Tensor) -> Tensor:
        """Encoded tokens [B, 1 + n, D], CLS first, and ``Masking.restore`` [B, N] to pixels [B, N, patch² · C]."""
        tokens = self.embed(encoded)
        patches = put_back(tokens[:, 1:], self.mask_token, restore)
        tokens = torch.cat([tokens[:, :1], patches], dim=1) + self.pos_embed
        for each in self.blocks:
            again = self.gradient_checkpointing and torch.is_grad_enabled()
            tokens = checkpoint(each, tokens, use_reentrant=False) if again else each(tokens)  # type: ignore[assignment]
        return self.predict(self.norm(tokens))[:, 1:]
