"""How many directions pooled embeddings use: effective rank, and the share of the first component."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from cxrbench import api
from cxrbench.data.decode.preprocess import load_image

BATCH = 32


class Directions(NamedTuple):
    """How many directions there are, from 1 to the width, and the share of the variance along the first component.

    ``rank``: effective rank. ``variance_rank``: the same of the variances, in which small ones count less.
    """

    rank: float
    variance_rank: float
    first: float


def directions(embeddings: NDArray[np.floating]) -> Directions:
    """Of pooled embeddings [n, D], centred.

    Effective rank: exp of the entropy of the singular values over their sum (Roy and Vetterli 2007); of variances: of
    their squares. Embeddings that are all one have none: NaN.
    """
    centred = embeddings.astype(np.float64) - embeddings.mean(0, dtype=np.float64)
    values = np.linalg.svd(centred, compute_uv=False)
    if not values.any():
        return Directions(np.nan, np.nan, np.nan)
    shares, of_variance = values / values.sum(), values**2 / (values**2).sum()
    return Directions(_exp_entropy(shares), _exp_entropy(of_variance), float(of_variance[0]))


def _exp_entropy(shares: NDArray[np.float64]) -> float:
    """How many equal shares have the same entropy."""
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def embedded(spec: str, paths: Sequence[Path]) -> NDArray[np.float32]:
    """Pooled embeddings [n, D] of phantom images, in float32: rounding would count as a direction."""
    encoder = api.load_encoder(spec, synthetic=True)

    def batches() -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(paths), BATCH):
            images = torch.stack([load_image(path, encoder.preprocess) for path in paths[start : start + BATCH]])
            yield encoder(images).pooled.numpy()

    with torch.inference_mode():
        return np.concatenate(list(batches()))
