"""MVMAE's terms: the alignment of a study's views (eq. 1), its annealed weight, and how views make a study's loss."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Alignment = Literal["pooled", "token_index", "token_shared_mask"]

WARMUP = 0.1  # share of the run before annealing begins: 50 of the official 500 epochs
STEEPNESS = 10.0  # of the sigmoid, per run: the official 0.02 per epoch, times 500 epochs
MIDDLE = (WARMUP + 1) / 2  # of the sigmoid, a share of the run


def beta_at(progress: float, final: float, *, late: bool = False) -> float:
    """β, the weight of the alignment, at ``progress`` in [0, 1] of the run: a sigmoid from 0 to ``final``.

    It is 0 until the share WARMUP, then the sigmoid about the middle of what remains, stretched so that it starts at 0
    and ends at ``final``. ``late``: as the official code has it, final · σ(k (p - warm-up - midpoint)); its midpoint,
    (warm-up + 1) / 2, is a place in the run but is compared with what has passed since warm-up, so it comes late by the
    warm-up, and neither end is reached: of 2 it is .008 until warm-up is over and 1.94 at last.
    """
    if late:
        return final * _sigmoid(max(0.0, progress - WARMUP) - MIDDLE)
    first, last = _sigmoid(WARMUP - MIDDLE), _sigmoid(1 - MIDDLE)
    return final * max(0.0, (_sigmoid(progress - MIDDLE) - first) / (last - first))


def _sigmoid(share: float) -> float:
    return 1 / (1 + math.exp(-STEEPNESS * share))


def view_features(tokens: Tensor, how: Alignment) -> Tensor:
    """What is compared between views, of length one: tokens [..., T, D], CLS and visible, to float32 [..., T', D].

    ``pooled``: the mean of all T tokens, T' = 1 (the official default). Otherwise every token by itself, T' = T.
    """
    tokens = tokens.float()
    return F.normalize(tokens.mean(dim=-2, keepdim=True) if how == "pooled" else tokens, dim=-1)


def pair_distances(features: Tensor) -> Tensor:
    """Mean squared difference between views: features [B, V, T, D] to [B, V, V], each (2 - 2 cos) / D if T is 1.

    The t-th token of one is compared with the t-th of the other. Eq. 1 has the squared norm, D times as much; the
    official weight β = 2 belongs to the mean.
    """
    return (features[:, :, None] - features[:, None]).square().mean(dim=(3, 4))


def alignment(tokens: Tensor, present: Tensor, how: Alignment, *, all_slots: bool = False) -> Tensor:
    """Eq. 1 of each study: tokens [B, V, T, D], present bool [B, V], to [B]; 0 where a study has one view.

    The mean over the study's pairs of different views. ``all_slots``: over all V² pairs of slots, as in the official
    code, in which a view with itself and pairs with a missing view count as 0: 2/9 of the mean for two views of three
    slots, 6/9 for three.
    """
    distances = pair_distances(view_features(tokens, how))
    pairs = (
        present[:, :, None] & present[:, None] & ~torch.eye(present.shape[1], dtype=torch.bool, device=tokens.device)
    )
    total = torch.where(pairs, distances, 0.0).sum(dim=(1, 2))  # not a product: 0 times an infinity is none
    return total / (present.shape[1] ** 2 if all_slots else pairs.sum(dim=(1, 2)).clamp(min=1))


def per_study(values: Tensor, present: Tensor, *, all_slots: bool = False) -> Tensor:
    """Mean over a study's views: values [P] of the present ones in order, present bool [B, V], to [B].

    ``all_slots``: missing views count as 0, as in the official code.
    """
    total = spread(values, present).sum(dim=1)
    return total / (present.shape[1] if all_slots else present.sum(dim=1))


def spread(values: Tensor, present: Tensor) -> Tensor:
    """Values [P, ...] of the present views at their places [B, V, ...], zeros elsewhere."""
    whole = values.new_zeros(*present.shape, *values.shape[1:])
    return whole.index_put((present,), values)
