"""FaNe's two attentions: a pool with a mean query, and pooling of an image's patches as one sentence asks for it."""

import math
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cxrbench.encoders.backbones.vit import initialise_as_torch

HEADS = 8
POOLS = "N(0, 1/n) of n inputs"  # start of the pools' matrices, CLIP's
NARROWED = 8  # of the tokens' channels, those of queries and keys of the code's pool are one in so many
NORM_EPS = 1e-5  # behind the pooled patches, torch's

MaskMode = Literal["pre", "post", "none"]
Initialisation = Literal["clip", "torch"]


class AttentionPool(nn.Module):
    """CLIP's attention pooling (Radford et al., 2021): the mean of the tokens, put before them, attends to all.

    ``width``: channels of a token, and of the result. ``positions``: learned positions of so many tokens and of the
    mean (0: none). ``inner``: channels of queries, keys and values (0: ``width``, as in CLIP). Names are CLIP's.
    """

    def __init__(self, width: int, positions: int = 0, inner: int = 0) -> None:
        super().__init__()
        inner = inner or width
        self.positional_embedding = nn.Parameter(torch.randn(positions + 1, width) / width**0.5) if positions else None
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, inner) for _ in range(3))
        self.c_proj = nn.Linear(inner, width)
        for part in (self.q_proj, self.k_proj, self.v_proj, self.c_proj):
            nn.init.normal_(part.weight, std=part.in_features**-0.5)
            nn.init.zeros_(part.bias)

    def forward(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        """Tokens [B, T, width], of which ``present`` (bool [B, T]) are there, to [B, width]; at least one is."""
        if present is None:
            present = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        there = present[:, :, None]
        mean = torch.where(there, tokens, 0).sum(dim=1) / there.sum(dim=1).clamp_min(1)
        tokens = torch.cat([mean[:, None], tokens], dim=1)
        if self.positional_embedding is not None:
            tokens = tokens + self.positional_embedding
        seen = F.pad(present, (1, 0), value=True)[:, None, None, :]
        query, keys, values = (
            part.unflatten(2, (HEADS, -1)).transpose(1, 2)
            for part in (self.q_proj(tokens[:, :1]), self.k_proj(tokens), self.v_proj(tokens))
        )
        return self.c_proj(F.scaled_dot_product_attention(query, keys, values, seen).transpose(1, 2).flatten(1))


def initialise_pools_as_torch(network: nn.Module) -> None:
    """Draw the layers of all attention pools anew, as the code, which has CLIP's pool without CLIP's start, does."""
    for part in network.modules():
        if isinstance(part, AttentionPool):
            initialise_as_torch(part)


class SoftmaxPool(nn.Module):
    """The one layer by which FaNe's code pools the tokens of a sentence, where it does not take their mean.

    With q_i and k_i linear in token i, an eighth as wide: Σ_i softmax_i(Σ_j q_i · k_j) x_i. Names are the code's.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key = (nn.Linear(width, width // NARROWED) for _ in range(2))

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Tokens [B, T, width], of which ``present`` (bool [B, T]) are there, to [B, width]; 0 where none is."""
        there = present[:, :, None]
        keys = torch.where(there, self.key(tokens), 0).sum(dim=1, keepdim=True)
        energy = (self.query(tokens) * keys).sum(dim=2, keepdim=True)
        weights = torch.where(there, energy, torch.finfo(energy.dtype).min).softmax(dim=1)
        return torch.where(there, weights * tokens, 0).sum(dim=1)


class Conditioned(NamedTuple):
    """``visual``: v^tc [B, P, D]; ``attention``: A and ``mask``: M, both [B, P, I] in (0, 1), M None without one."""

    visual: Tensor
    attention: Tensor
    mask: Tensor | None


def mask_layers(width: int) -> nn.Sequential:
    """The MLP of eq. 8, from a pair [q; k], 2 ``width`` numbers, to the logit of its place in M."""
    return nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, 1))


class SparseAttentionPool(nn.Module):
    """Eq. 8-10: for each sentence, what the patches show of it, through a mask that is learnt to be sparse.

    q, k, v are linear in the projected sentences and patches; M = σ(MLP([q_u; k_k])), with an MLP 2D -> D -> ReLU -> 1;
    v^tc = LN(W_o Σ_k A_uk v_k). ``pre`` is the paper's A = σ((q kᵀ / √D) ⊙ M), in which a patch that is masked
    (M = 0) keeps the weight σ(0) = ½: the sparser the mask, the more uniform the pooling. ``post``, the default:
    A = σ(q kᵀ / √D) ⊙ M, in which it has none. ``none``, the first row of the paper's Table 3: A = σ(q kᵀ / √D), with
    no MLP; the other layers begin as they do beside one.
    """

    def __init__(self, width: int, mode: MaskMode = "post") -> None:
        super().__init__()
        self.mode = mode
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))
        # No layers that nothing trains: several processes would wait for their gradients.
        self.mask = None if mode == "none" else mask_layers(width)
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)

    def forward(self, sentences: Tensor, patches: Tensor) -> Conditioned:
        """Sentences [B, P, D] ask patches [B, I, D]."""
        q, k, v = self.q_proj(sentences), self.k_proj(patches), self.v_proj(patches)
        mask = None if self.mask is None else self.sparse_mask(self.mask, q, k)
        scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[2])
        if mask is None:
            attention = torch.sigmoid(scores)
        else:
            attention = torch.sigmoid(scores * mask) if self.mode == "pre" else torch.sigmoid(scores) * mask
        return Conditioned(self.norm(self.out_proj(attention @ v)), attention, mask)

    @staticmethod
    def sparse_mask(mlp: nn.Sequential, q: Tensor, k: Tensor) -> Tensor:
        """M [B, P, I]. The first layer is linear in q and k apart, so the pairs [q; k] need not be laid out."""
        first, _, last = mlp
        of_query, of_key = first.weight.chunk(2, dim=1)  # type: ignore[union-attr]
        hidden = F.linear(q, of_query, first.bias)[:, :, None] + F.linear(k, of_key)[:, None]  # type: ignore[arg-type]
        return torch.sigmoid(last(F.relu(hidden)).squeeze(3))


def sparsity(mask: Tensor, present: Tensor) -> Tensor:
    """L_spa of each report [B]: the mean of M [B, P, I] over its sentences (``present``, bool [B, P]) and patches.

    Eq. 9 is a sum; with a weight of 1 only the mean, which the code takes, is of the size of the other losses.
    """
    of_sentence = torch.where(present, mask.float().mean(dim=2), 0)
    return of_sentence.sum(dim=1) / present.sum(dim=1).clamp_min(1)
