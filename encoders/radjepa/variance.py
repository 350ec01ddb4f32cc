"""What keeps embeddings apart without negatives: VICReg's variance and covariance terms (Bardes et al., ICLR 2022)."""

import torch
from torch import Tensor

from cxrbench.encoders.backbones.precision import full_precision

TARGET, EPSILON = 1.0, 1e-4  # the standard deviation that is asked for, and what is added to variances (their §4.1)


def variance_covariance(embeddings: Tensor) -> tuple[Tensor, Tensor]:
    """Of the embeddings [B, D] of a batch: the variance term v (eq. 1) and the covariance term c (eq. 4), float32.

    v: mean over features of max(0, 1 - sqrt(variance + 1e-4)); it is what spread that goes to 0 raises. c: sum of the
    squared covariances of different features, over D; it is what few directions with all the variance raise. Variances
    are divided by B - 1; of one image they are 0.
    """
    with full_precision(embeddings.device):
        apart = embeddings.float()
        apart = apart - apart.mean(dim=0)
        covariance = apart.T @ apart / max(len(apart) - 1, 1)
        variance = covariance.diagonal()
        hinge = torch.relu(TARGET - (variance + EPSILON).sqrt()).mean()
        return hinge, (covariance - torch.diag(variance)).square().sum() / len(variance)
