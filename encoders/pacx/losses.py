"""PaCX-MAE's losses of stage 2 (arXiv 2606.01537, eq. 3 and 4), for batches in which a modality may be missing."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cxrbench.encoders.backbones.precision import full_precision


class Pair(NamedTuple):
    """What one modality brings to a batch of B images.

    ``image``, ``other``: projections [B, P] of the images and of the teacher's embeddings, any length; ``predicted``:
    the embedding [B, E] that is read off the image; ``target``: the teacher's; ``present``: bool [B], which images have
    it at all. Rows that are not present may hold anything finite.
    """

    image: Tensor
    other: Tensor
    predicted: Tensor
    target: Tensor
    present: Tensor


def contrastive_loss(pairs: Sequence[Pair], scale: Tensor | float, smoothing: float) -> Tensor:
    """Eq. 3 as it is trained: mean over the modalities that any image has of ``info_nce`` of the images that have it.

    Eq. 3 prints one direction, no normalisation, and does not say whether modalities are added: they are averaged, so
    that leaving one out is the loss over the other. Nothing present: 0.
    """
    terms = [
        info_nce(pair.image[pair.present], pair.other[pair.present], scale, smoothing)
        for pair in pairs
        if pair.present.any()
    ]
    return mean(terms, pairs)


def regression_loss(pairs: Sequence[Pair]) -> Tensor:
    """Eq. 4: mean over the modalities that any image has of the mean of 1 - cos(prediction, target), in [0, 2].

    Eq. 4's ½ is this where both modalities are there. Targets get no gradient. Nothing present: 0.
    """
    terms = [
        (1 - cosines(pair.predicted[pair.present], pair.target[pair.present].detach())).mean()
        for pair in pairs
        if pair.present.any()
    ]
    return mean(terms, pairs)


def mean(terms: Sequence[Tensor], pairs: Sequence[Pair]) -> Tensor:
    """The mean; of no terms a 0 that has a gradient, 0 everywhere, so that a step without any modality is a step."""
    if terms:
        return torch.stack(list(terms)).mean()
    return torch.stack([(pair.image.float().sum() + pair.predicted.float().sum()) * 0 for pair in pairs]).sum()


def info_nce(a: Tensor, b: Tensor, scale: Tensor | float, smoothing: float) -> Tensor:
    """½ [CE(s a bᵀ, I) + CE(s b aᵀ, I)] over cosines of rows [K, P] that belong together, with label smoothing.

    Of K pairs each target is (1 - ε) its own + ε / K all: the floor is that distribution's entropy, not 0. float32 even
    where bf16 is on.
    """
    with full_precision(a.device):
        logits = scale * F.normalize(a.float(), dim=1) @ F.normalize(b.float(), dim=1).T
        own = torch.arange(len(a), device=a.device)
        both = [F.cross_entropy(each, own, label_smoothing=smoothing) for each in (logits, logits.T)]
        return (both[0] + both[1]) / 2


def cosines(a: Tensor, b: Tensor) -> Tensor:
    """Cosines [n] of rows [n, D], float32 even where bf16 is on."""
    with full_precision(a.device):
        return F.cosine_similarity(a.float(), b.float(), dim=1)
