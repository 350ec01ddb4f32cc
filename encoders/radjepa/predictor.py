"""The narrow transformer of a JEPA: from the tokens of a context to the tokens of blocks that it did not see."""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cxrbench.encoders.backbones.masking import take
from cxrbench.encoders.backbones.vit import TOKEN_STD, ViTConfig, block, initialise_linear, layer_norm, sincos_positions

WIDEST = 384  # channels of a predictor's token, as published for encoders of 768 channels and more


def predictor_width(heads: int) -> int:
    """Channels of the predictor of an encoder with ``heads`` heads: as many heads, each at most 32 wide.

    768 channels in 12 heads give the published 384; 192 in 3 give 96. Heads are a multiple of 8 wide, for fast kernels.
    """
    return heads * max(8, min(32, WIDEST // heads) // 8 * 8)


class JepaPredictor(nn.Module):
    """Linear, ``depth`` blocks on context and mask tokens, layer norm, Linear (I-JEPA, Assran et al. 2023, §3).

    Positions are fixed sin-cos ones in the predictor's own width; one mask token is learned.
    """

    def __init__(self, encoder: ViTConfig, depth: int) -> None:
        super().__init__()
        width = predictor_width(encoder.heads)
        self.embed = nn.Linear(encoder.width, width)
        self.mask_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed: Tensor
        self.register_buffer("pos_embed", sincos_positions(encoder.side, width)[None])
        self.blocks = nn.ModuleList(block(width, encoder.heads) for _ in range(depth))
        self.norm = layer_norm(width)
        self.project = nn.Linear(width, encoder.width)
        self.gradient_checkpointing = False
        initialise_linear(self)
        nn.init.normal_(self.mask_token, std=TOKEN_STD)

    def forward(self, tokens: Tensor, context: Tensor, targets: Tensor) -> Tensor:
        """Encoded context tokens [B, n, D], their patch numbers [B, n] and those of K blocks [B, K, m]: [B · K, m, D].

        Each block is predicted by itself, from the whole context; an image's blocks follow each other.
        """
        batch, count, size = targets.shape
        positions = self.pos_embed.expand(batch, -1, -1)
        seen = self.embed(tokens)
        seen = seen + take(positions, context)
        wanted = self.mask_token + take(positions, targets.flatten(1)).reshape(batch * count, size, -1)
        both = torch.cat([seen.repeat_interleave(count, dim=0), wanted.to(seen.dtype)], dim=1)
        for each in self.blocks:
            again = self.gradient_checkpointing and torch.is_grad_enabled()
            both = checkpoint(each, both, use_reentrant=False) if again else each(both)  # type: ignore[assignment]
        return self.project(self.norm(both[:, -size:]))
