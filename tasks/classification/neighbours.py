"""Votes of the nearest neighbours, and how good they are."""

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

NEIGHBOURS = (5, 10, 20, 50, 200)
TEMPERATURE = 0.07
CHUNK = 2048  # queries at a time: [CHUNK, train] similarities are in memory

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


def usable(train: int) -> tuple[int, ...]:
    """The numbers of neighbours that a training set of this size has; all of it, if it is smaller than the smallest."""
    return tuple(k for k in NEIGHBOURS if k <= train) or (train,)


def votes(train: Floats, targets: Floats, queries: Floats, ks: tuple[int, ...]) -> dict[int, Doubles]:
    """For each k the share of positive votes [queries, L], among the k nearest training images with a known label.

    train: [n, D]; targets: [n, L] of 0, 1, NaN; queries: [q, D]. Labels known of the same images are looked up
    together. NaN for a label that is known of no image.
    """
    unit, asked = (unit_rows(torch.from_numpy(x)) for x in (train, queries))
    scores = {k: np.full((len(queries), targets.shape[1]), np.nan) for k in ks}
    patterns, group = np.unique(~np.isnan(targets), axis=1, return_inverse=True)
    for number, known in enumerate(patterns.T):
        labels = np.flatnonzero(group.reshape(-1) == number)
        if not known.any():
            continue
        y = torch.from_numpy(targets[np.ix_(known, labels)]).double()
        candidates = unit[torch.from_numpy(known)]
        for start in range(0, len(asked), CHUNK):
            similar, nearest = (asked[start : start + CHUNK] @ candidates.T).topk(min(max(ks), len(y)), dim=1)
            weights = (similar.double() / TEMPERATURE).exp()
            weighted = (weights[:, :, None] * y[nearest]).cumsum(1)  # [chunk, k, L]
            total = weights.cumsum(1)[:, :, None]
            for k in ks:
                at = min(k, len(y)) - 1
                scores[k][start : start + CHUNK, labels] = (weighted[:, at] / total[:, at]).numpy()
    return scores


def unit_rows(rows: torch.Tensor) -> torch.Tensor:
    """Rows [n, D] at length one; rows of zeros stay zeros. Squares of large features do not overflow on the way."""
    _, exponent = torch.frexp(rows.abs().amax(dim=1, keepdim=True))
    return torch.nn.functional.normalize(torch.ldexp(rows, -exponent), dim=1)  # a power of two changes no digit


def quality(scores: Doubles, targets: Floats) -> tuple[float, float]:
    """(macro AUROC over the labels that have one or 0, minus the Brier score): higher is better."""
    pairs = [(t[~np.isnan(t)], s[~np.isnan(t)]) for t, s in zip(targets.T, scores.T, strict=True)]
    aurocs = [
        float(roc_auc_score(t, s))
        for t, s in pairs
        if (t == 0).any() and (t == 1).any() and np.isfinite(s).all()
    ]  # fmt: skip
    brier = [float(np.mean((t - s) ** 2)) for t, s in pairs if len(t) and np.isfinite(s).all()]
    return float(np.mean(aurocs)) if aurocs else 0.0, -float(np.mean(brier)) if brier else 0.0
