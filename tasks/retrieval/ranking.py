"""Ranking a gallery by cosine similarity."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from cxrbench.tasks.retrieval.studies import Array, Floats, unit

CHUNK = 128  # Queries at a time: 25,000 images need 13 MB for their similarities, not 5 GB.


def similarities(queries: Floats, gallery: Floats) -> Iterator[tuple[slice, torch.Tensor]]:
    """Cosine similarities, a chunk of queries at a time: its rows and a float32 tensor [chunk, gallery]."""
    ours, theirs = torch.from_numpy(unit(queries)), torch.from_numpy(unit(gallery))
    for start in range(0, len(ours), CHUNK):
        rows = slice(start, min(start + CHUNK, len(ours)))
        yield rows, ours[rows] @ theirs.T


def first_ranks(queries: Floats, gallery: Floats, answers: NDArray[np.integer], groups: NDArray[np.integer]) -> Array:
    """Rank [n], from 1, of the first right item: for query i any item j of the gallery with groups[j] == answers[i].

    queries: [n, D]; gallery: [m, D]; answers: [n]; groups: [m]. Wrong items as similar as the right one stand before
    it, so that an encoder that gives one embedding for everything ranks last, not first. NaN without a right item.
    """
    ranks = np.full(len(queries), np.nan)
    group = torch.from_numpy(np.asarray(groups, np.int64))
    for rows, similarity in similarities(queries, gallery):
        right = torch.from_numpy(np.asarray(answers[rows], np.int64))[:, None] == group
        best = torch.where(right, similarity, -torch.inf).amax(1, keepdim=True)
        before = ((similarity >= best) & ~right).sum(1) + 1.0
        ranks[rows] = torch.where(right.any(1), before.double(), torch.nan).numpy()
    return ranks
