"""Images with their labels as units of training: what several data sets call by one name is one label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxrbench.data.manifest import Manifest, Rows
from cxrbench.encoders.pretraining.corpus import TrainingImages
from cxrbench.errors import UserError


@dataclass(frozen=True)
class LabelledImages:
    """Every image is a unit. ``labels``: names; ``targets``: float32 [images, labels], 1, 0, NaN where unknown."""

    images: TrainingImages
    labels: tuple[str, ...]
    targets: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, units: Rows, rngs: Sequence[np.random.Generator]) -> dict[str, Tensor]:
        """``images``, and ``targets`` [n, labels]."""
        return {"images": self.images.images(units), "targets": torch.from_numpy(self.targets[units])}

    @property
    def positives(self) -> NDArray[np.int64]:
        """Images that have each label [labels]."""
        return (self.targets == 1).sum(axis=0)

    @property
    def negatives(self) -> NDArray[np.int64]:
        """Images that are known not to have each label [labels]."""
        return (self.targets == 0).sum(axis=0)

    @property
    def facts(self) -> Mapping[str, Any]:
        """Label names with the number of images that have them, and the share of targets that is unknown."""
        counts = {name: int(count) for name, count in zip(self.labels, self.positives, strict=True)}
        return {"labels": counts, "unknown_targets": round(float(np.isnan(self.targets).mean()), 4)}


def has_a_label(manifest: Manifest) -> NDArray[np.bool_]:
    """Whether at least one label of each image is known: bool [images]. UserError if the data set has no labels."""
    if not manifest.labels:
        raise UserError(f"{manifest.name} has no labels to learn: leave it out of --data, or add label columns to it")
    return np.asarray(~np.isnan(manifest.targets()).all(axis=1))


def label_key(label: str) -> str:
    """What names of the same label have in common: ``Pleural_Thickening`` is ``pleural thickening``."""
    return " ".join(label.replace("_", " ").casefold().split())


def labelled_images(images: TrainingImages, among: str = "the training images") -> LabelledImages:
    """Images with the labels of all their data sets. ``among``: what they are, for a message.

    Names are spelt as the first data set spells them; of a multiclass one every class is a label. A label that a data
    set does not have is unknown there. Labels that all or none of the images have, where known, teach nothing and are
    left out. Raises UserError if none is left.
    """
    names: dict[str, str] = {}
    for manifest in images.manifests.values():
        for label in manifest.labels:
            names.setdefault(label_key(label), label)
    column = {key: place for place, key in enumerate(names)}
    targets = np.full((len(images), len(names)), np.nan, np.float32)
    for name, rows in images.rows.groupby("dataset", sort=False).indices.items():
        manifest = images.manifests[str(name)]
        table = manifest.images.set_index("image_id").loc[images.rows["image_id"].iloc[rows]]
        for label in manifest.labels:  # two spellings of one label in a data set: positive if either is
            at = (rows, column[label_key(label)])
            targets[at] = np.fmax(targets[at], table[label].to_numpy(np.float32))
    varied = (targets == 1).any(axis=0) & (targets == 0).any(axis=0)
    if not varied.any():
        raise UserError(f"no label of {', '.join(images.manifests)} is both present and absent in {among}")
    kept = tuple(name for name, keep in zip(names.values(), varied, strict=True) if keep)
    return LabelledImages(images, kept, targets[:, varied])
