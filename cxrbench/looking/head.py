"""What makes a label's logit of an embedding, where a protocol is that simple."""

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.manifest import Manifest
from cxrbench.task import Cell, FrozenEncoder


class LinearHead(NamedTuple):
    """``weights`` [L, D] and ``intercepts`` [L], float64: logits are weights @ pooled + intercepts.

    NaN for a label that could not be trained.
    """

    weights: NDArray[np.float64]
    intercepts: NDArray[np.float64]

    def logits(self, pooled: NDArray[np.floating]) -> NDArray[np.float64]:
        """Of embeddings [n, D]: [n, L]."""
        return pooled.astype(np.float64) @ self.weights.T + self.intercepts


@runtime_checkable
class ReadsLinearly(Protocol):
    """A protocol whose logits are linear in the image embedding; no file keeps them, so it can fit them again."""

    def head(self, encoder: FrozenEncoder, manifest: Manifest, cell: Cell) -> LinearHead:
        """The head by which ``run`` predicts with these same arguments, of every label of the manifest."""
        ...
