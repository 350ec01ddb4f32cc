"""What pretraining is made of: prepared images with their rows, and a corpus that makes batches of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from cxrbench.data.manifest import Manifest, Rows
from cxrbench.encoder import Preprocess
from cxrbench.encoders.pretraining.engine.prepared import Prepared, eight_bits


@dataclass(frozen=True)
class TrainingImages:
    """The training images. ``rows``: one row each, in the order of ``prepared``.

    ``rows`` has the columns ``dataset``, ``image_id``, ``patient_id``, ``study_id``, ``view``; ``manifests`` the tables
    behind them by dataset name (labels, reports, signals). Study ids are unique within a dataset only.
    """

    prepared: Prepared
    rows: pd.DataFrame
    manifests: Mapping[str, Manifest]

    def __len__(self) -> int:
        return len(self.rows)

    def images(self, rows: Rows) -> Tensor:
        """uint8 [n, 1, size, size] of row numbers [n], in that order."""
        return torch.from_numpy(np.ascontiguousarray(self.prepared.images(rows)))


class Corpus(Protocol):
    """The units of training (images, studies, ...) and what a batch of them is. It is sent to other processes."""

    def __len__(self) -> int:
        """Units in an epoch."""
        ...

    def batch(self, units: Rows, rngs: Sequence[np.random.Generator]) -> dict[str, Tensor]:
        """Tensors by name, the first axis being the units; ``images`` uint8 [n, 1, S, S] or [n, views, 1, S, S].

        ``rngs``: one generator per unit, for what is drawn anew each epoch (views, the order of sentences): whatever
        the number of processes, a unit meets the same one.
        """
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the model card says of it, e.g. ``{"studies": 213}``; plain JSON values."""
        ...


@dataclass(frozen=True)
class ImageCorpus:
    """Every image is a unit, and there is nothing but images."""

    images: TrainingImages

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, units: Rows, rngs: Sequence[np.random.Generator]) -> dict[str, Tensor]:
        """``images``."""
        return {"images": self.images.images(units)}

    @property
    def facts(self) -> Mapping[str, Any]:
        """Nothing beyond the images of each dataset, which every model card has."""
        return {}


def whole(read: Mapping[str, Tensor], preprocess: Preprocess) -> dict[str, Tensor]:
    """What a corpus gives, with its uint8 images [..., 1, D, D] at the training size: [..., 1, S, S].

    They come decoded at a larger side where crops are cut from them. What is not cropped (pictures, monitors, costs)
    is resized as ``preprocess`` resizes files.
    """
    images, size = read["images"], preprocess.size
    if images.shape[-1] == size:
        return dict(read)
    small = F.interpolate(
        images.flatten(0, -4).float() / 255, (size, size), mode=preprocess.interpolation, antialias=True
    )
    return {**read, "images": eight_bits(small.clamp_(0, 1)).view(*images.shape[:-2], size, size)}
