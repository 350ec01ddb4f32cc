"""Numbers beside a map: how far groups lie apart, among the embeddings and on the map, and whether the map is true."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrbench.embedding_maps.grouping import Grouping

NEIGHBOURS = 15
"""Neighbours that trustworthiness looks at."""


@dataclass(frozen=True)
class Separation:
    """Mean silhouettes (Rousseeuw 1987) of the groups of ``by``, of one encoder: 1 apart, 0 mixed, below 0 misplaced.

    ``in_embeddings``: of the embeddings with all their numbers, which is the one that says something of the encoder;
    ``in_map``: of the points in the plane, which says how it looks. ``groups``, ``images``: that are in it; images of
    no group of their own are not. NaN where all groups have one image.
    """

    encoder: str
    by: str
    in_embeddings: float
    in_map: float
    groups: int
    images: int


def separation(encoder: str, grouping: Grouping, rows: NDArray[np.float64], points: NDArray[np.float64]) -> Separation:
    """Silhouettes of rows [n, D] and of points [n, 2], Euclidean: of unit rows the order is that of the cosine."""
    named = grouping.named
    codes = grouping.codes[named]
    groups = len(np.unique(codes))
    full, shown = (_silhouette(of[named], codes) if groups < len(codes) else float("nan") for of in (rows, points))
    return Separation(encoder, grouping.by, full, shown, groups, len(codes))


def trustworthiness(rows: NDArray[np.float64], points: NDArray[np.float64]) -> float:
    """Share in [0, 1] of the map's neighbourhoods that are true: 1 where whoever is near on it is near in the full
    space, too (Venna and Kaski 2001; of ``NEIGHBOURS`` neighbours, fewer where there are few images).
    """
    from sklearn.manifold import trustworthiness

    return float(trustworthiness(rows, points, n_neighbors=neighbours(len(rows))))


def neighbours(images: int) -> int:
    """How many neighbours trustworthiness looks at: it is defined for fewer than half of the images."""
    return min(NEIGHBOURS, (images - 1) // 2)


def _silhouette(rows: NDArray[np.float64], codes: NDArray[np.int64]) -> float:
    from sklearn.metrics import silhouette_score

    return float(silhouette_score(rows, codes))
