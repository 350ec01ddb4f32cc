"""Figures of pooled embeddings that tell whether an encoder still tells images apart. Pure functions of tensors."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Monitors(NamedTuple):
    """Figures of the embeddings of one set of images; NaN where undefined (all images at one point)."""

    effective_rank: float
    first_component: float
    spread: float
    uniformity: float
    crop_alignment: float


def monitors(embeddings: Tensor, views: Tensor) -> Monitors:
    """All figures. embeddings: [n, D] of n images; views: [m, D] of another view of each of the first m of them."""
    x, y = embeddings.detach().cpu().double(), views.detach().cpu().double()
    values = singular_values(x)
    return Monitors(
        effective_rank=effective_rank(values),
        first_component=first_component(values),
        spread=float(x.std(dim=0, correction=0).mean()),
        uniformity=uniformity(x),
        crop_alignment=alignment(x[: len(y)], y),
    )


def singular_values(embeddings: Tensor) -> Tensor:
    """Of the embeddings [n, D] less their mean: [min(n, D)], the largest first."""
    return torch.linalg.svdvals(embeddings - embeddings.mean(dim=0))


def effective_rank(values: Tensor) -> float:
    """exp of the entropy of the shares of variance, from singular values: 1 to their number.

    Roy & Vetterli (EUSIPCO 2007), of the covariance's eigenvalues. Of the singular values themselves, as RankMe has it,
    many directions with next to nothing in them hold it up: RadJEPA's shipped weights, 90% of whose variance is in one
    component, had 28 of 46.5 left, where 1.7 of 5.2 says what has happened.
    """
    shares = values.square() / values.square().sum()
    return math.exp(float(torch.special.entr(shares).sum()))


def first_component(values: Tensor) -> float:
    """Share of the variance along the first principal component, from singular values."""
    squares = values.square()
    return float(squares[0] / squares.sum())


def uniformity(embeddings: Tensor) -> float:
    """log of the mean over pairs of exp(-2 d²), d between embeddings [n, D] at length one (Wang & Isola, ICML 2020).

    0 where all images are one point; -4 at the least, where they are spread evenly over a sphere of many dimensions.
    """
    return float(torch.pdist(F.normalize(embeddings, dim=1)).square().mul(-2).exp().mean().log())


def alignment(a: Tensor, b: Tensor) -> float:
    """Mean d² between two views of each image, [n, D] each, at length one (Wang & Isola, ICML 2020, with α = 2)."""
    return float((F.normalize(a, dim=1) - F.normalize(b, dim=1)).square().sum(dim=1).mean())
