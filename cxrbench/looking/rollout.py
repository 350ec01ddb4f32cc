"""Attention rollout: from the attentions of a ViT's blocks to one weight per patch."""

import torch
from torch import Tensor

from cxrbench.encoder import Attentions


def rollout(seen: Attentions) -> Tensor:
    """How much each patch reaches the embedding through all blocks: [B, rows, columns], float64.

    Abnar and Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020, eq. 1: with A_l, the mean of block l's
    attention over its heads, and the identity for the residual connection, Â_l = (A_l + I) / 2 and
    R = Â_L Â_(L-1) ... Â_1. Of R the row is taken at which the embedding is read (CLS), or the mean of the rows
    (patches). PaCX-MAE's figure 4 has it of CLS. What CLS and registers keep for themselves is left out, so that the
    weights of the patches sum to 1 or less. It knows no label: it says where the network looks, not what for.
    """
    share = seen.read.to(torch.float64).expand(len(seen.blocks[0]), -1)  # [B, T], a row of the product so far
    for block in reversed(seen.blocks):
        share = (share + torch.einsum("bt,bts->bs", share, block.to(torch.float64).mean(dim=1))) / 2
    rows, columns = seen.grid
    return share[:, share.shape[1] - rows * columns :].reshape(-1, rows, columns)
