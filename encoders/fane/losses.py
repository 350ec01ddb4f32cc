"""FaNe's losses: multi-positive sigmoid (eq. 6), contrast within a report (11-13), hard negatives (14-18).

All take embeddings or cosines in float32 and know nothing of networks or processes.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

HardNegatives = Literal["fixed", "paper", "official"]
TAU1, TAU2, TAU3 = 0.1, 0.07, 0.07
LEAST = 1e-4  # of the denominator of eq. 16, which can be 0


def multi_positive_sigmoid(s: Tensor, same: Tensor, scale: Tensor | float, bias: Tensor | float) -> Tensor:
    """Eq. 6 with the sign of its bias put right: (1/B) Σ_ij softplus(-h_ij (s_ij · scale + bias)), a scalar.

    s: cosines [B, B]; ``same``: bool [B, B], which pairs are positives, h = 2 · same - 1. With ``same`` the identity it
    is SigLIP's loss (Zhai et al., 2023, algorithm 1). The paper prints, and its code computes, softplus(h (-s · scale +
    bias)): this function with -bias, whose loss starts at about 970 with 98 pairs, where SigLIP's bias of -10 is there
    to start at about 10.
    """
    h = 2 * same.to(s.dtype) - 1
    return F.softplus(-h * (s * scale + bias)).sum() / len(s)


def within_report(visual: Tensor, sentences: Tensor, present: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Eq. 11-13: InfoNCE between the sentences u of a report and what each sees in the image, in both directions.

    visual, sentences: [B, P, D], any length; ``present``: bool [B, P], which of the P are sentences. Returns the sum of
    each report's terms, ½ (image to text + text to image) over its sentences, and their number, both [B]. The other
    sentences of the report are the only negatives, so a report of one sentence has a term of 0.
    """
    logits = F.normalize(visual, dim=2) @ F.normalize(sentences, dim=2).transpose(1, 2) / temperature
    lowest = torch.finfo(logits.dtype).min
    logits = logits.masked_fill(~(present[:, :, None] & present[:, None, :]), lowest)
    own = logits.diagonal(dim1=1, dim2=2)
    terms = (logits.logsumexp(dim=2) + logits.logsumexp(dim=1)) / 2 - own
    return torch.where(present, terms, 0).sum(dim=1), present.sum(dim=1)


def mean_within_report(sums: Tensor, counts: Tensor, *, per_report: bool) -> Tensor:
    """The mean over all sentences (the paper), or the mean over reports of each report's mean (its code)."""
    if per_report:
        return (sums / counts.clamp_min(1)).mean()
    return sums.sum() / counts.sum().clamp_min(1)


def hard_negatives(cosines: Tensor, same: Tensor, temperature: float, form: HardNegatives) -> Tensor:
    """Eq. 14-18 of one modality: push away what is no positive, the harder the nearer; a scalar, the mean over rows.

    cosines: [B, B] of images with images, or texts with texts; ``same``: bool [B, B], positives, the diagonal among
    them. With s = cosine / temperature and N_i the negatives of row i:

    ``fixed``: log(1 + Σ_{j in N_i} |N_i| w_ij exp(s_ij)), w = softmax of s_i over N_i, without gradient: the weights
    of Robinson et al. (2021), outside the exponent. Inside it, as eq. 16 has them, a row whose weights gather on one
    negative has an exponent of |N_i| / temperature (losses of 300, gradients of 500 in a batch of 64), and nothing else
    is learnt. Never negative; positives get no gradient; 0 without negatives.

    ``paper``, as printed: log Σ_j exp(y_ij α_ij s_ij), y = 1 for negatives and 0 for positives, which add 1 each, so
    that it is at least the logarithm of their number. α_ij = s_ij / Σ_{k in N_i} s_ik is no softmax: it is clamped to
    [0, 1] here, and the sum kept away from 0, or the loss would be singular.

    ``official``, the code: Σ_{j in N_i} w_ij s_ij with w = softmax of s_i / temperature over N_i (the temperature
    twice), in [-1 / temperature, 1 / temperature]; 0 without negatives.
    """
    negative, s = ~same, cosines / temperature
    if form == "paper":
        total = torch.where(negative, s, 0).sum(dim=1, keepdim=True)
        total = torch.where(total.abs() < LEAST, LEAST, total)
        return torch.where(negative, (s / total).clamp(0, 1) * s, 0).logsumexp(dim=1).mean()
    if form == "official":
        return (negative_weights(s / temperature, negative) * s).sum(dim=1).mean()
    weights = negative_weights(s.detach(), negative)
    exponents = s + (negative.sum(dim=1, keepdim=True) * weights).clamp(min=torch.finfo(s.dtype).tiny).log()
    exponents = torch.where(negative, exponents, torch.finfo(s.dtype).min)
    return torch.cat([torch.zeros_like(s[:, :1]), exponents], dim=1).logsumexp(dim=1).mean()


def negative_weights(logits: Tensor, negative: Tensor) -> Tensor:
    """Softmax over each row's negatives: [B, B], rows sum to 1, or to 0 where there are none."""
    return logits.masked_fill(~negative, torch.finfo(logits.dtype).min).softmax(dim=1) * negative
