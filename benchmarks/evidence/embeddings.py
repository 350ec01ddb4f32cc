"""How many directions pooled embeddings use: effective rank, and the share of the first component."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from cxrbench import api
from cxrbench.data.decode.preprocess import load_image
from cxrbench.encoders.pretraining.engine.watching.monitors import effective_rank, first_component, singular_values

BATCH = 32


class Directions(NamedTuple):
    """Effective rank of pooled embeddings, from 1 to the width, and the first component's share of the variance."""

    rank: float
    first: float


def directions(embeddings: NDArray[np.floating]) -> Directions:
    """Of pooled embeddings [n, D], as training watches them. Embeddings that are all one have none: NaN."""
    values = singular_values(torch.from_numpy(embeddings.astype(np.float64)))
    return Directions(effective_rank(values), first_component(values))


def embedded(spec: str, paths: Sequence[Path]) -> NDArray[np.float32]:
    """Pooled embeddings [n, D] of phantom images, in float32: rounding would count as a direction."""
    encoder = api.load_encoder(spec, synthetic=True)

    def batches() -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(paths), BATCH):
            images = torch.stack([load_image(path, encoder.preprocess) for path in paths[start : start + BATCH]])
            yield encoder(images).pooled.numpy()

    with torch.inference_mode():
        return np.concatenate(list(batches()))
