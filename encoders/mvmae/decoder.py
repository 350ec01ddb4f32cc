"""MVMAE's decoder: as wide as the encoder, with learned positions and view embeddings of its own."""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cxrbench.encoders.backbones.masking import put_back
from cxrbench.encoders.backbones.vit import TOKEN_STD, ViTConfig, block, initialise_linear
from cxrbench.encoders.pretraining.studies import VIEWS


class MultiviewDecoder(nn.Module):
    """``depth`` blocks like the encoder's, then a norm and a projection to pixels. Here CLS has a view, too."""

    def __init__(self, encoder: ViTConfig, depth: int) -> None:
        super().__init__()
        width = encoder.width
        self.mask_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + encoder.tokens, width))
        self.modality = nn.Parameter(torch.empty(len(VIEWS), width))
        self.blocks = nn.ModuleList(block(width, encoder.heads, qk_norm=True) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=encoder.norm_eps)
        self.predict = nn.Linear(width, encoder.patch**2 * encoder.channels)
        self.gradient_checkpointing = False
        initialise_linear(self)
        for token in (self.mask_token, self.pos_embed, self.modality):
            nn.init.normal_(token, std=TOKEN_STD)

    def forward(self, encoded: Tensor, restore: Tensor, views: Tensor) -> Tensor:
        """Encoded tokens [P, 1 + n, D], CLS first, ``Masking.restore`` [P, N] and codes of views [P] to patches
        [P, N, patch²], in raster order."""
        patches = put_back(encoded[:, 1:], self.mask_token, restore)
        tokens = torch.cat([encoded[:, :1], patches], dim=1) + self.pos_embed + self.modality[views][:, None]
        for each in self.blocks:
            again = self.gradient_checkpointing and torch.is_grad_enabled()
            tokens = checkpoint(each, tokens, use_reentrant=False) if again else each(tokens)  # type: ignore[assignment]
        return self.predict(self.norm(tokens))[:, 1:]
