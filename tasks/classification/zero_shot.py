"""Classification without training: which of two sentences is nearer to the image?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.manifest import Manifest
from cxrbench.errors import NotApplicableError
from cxrbench.predictions import Predictions
from cxrbench.task import Asked, Cell, FrozenEncoder, Need, Task, predictions_of
from cxrbench.tasks.classification.prompts import of_class, pair
from cxrbench.tasks.classification.views import of_labels
from cxrbench.tasks.retrieval.studies import trains_on_nothing, unit
from cxrbench.tasks.retrieval.text_tower import beside_texts, same_space, text_tower


@dataclass(frozen=True, kw_only=True)
class ZeroShot(Task):
    """The ``zero-shot`` protocol, for encoders with a text tower.

    Independent labels: CheXzero's softmax over the cosines with "LABEL" and "no LABEL" (Tiu et al. 2022; without a
    temperature, as in its code). Classes that exclude each other: softmax over the cosines with one prompt per class.
    The order of the scores, and which one is above 0.5, mean something; as probabilities they hug 0.5.
    """

    name: str = "zero-shot"
    summary: str = "classification from prompts, for encoders with a text tower: AUROC, AUPRC, F1, accuracy"
    needs: tuple[Need, ...] = ("labels", "test")

    @property
    def asks(self) -> frozenset[Asked] | None:
        """Image embeddings, and a text tower."""
        return frozenset({"pooled", "network"})

    def seeds_matter(self, fraction: float) -> bool:
        """Nothing is trained."""
        del fraction
        return False

    def texts(self, manifest: Manifest) -> list[str]:
        """The prompts: one per class, or two per label."""
        labels = manifest.labels
        return [of_class(x) for x in labels] if manifest.kind == "multiclass" else [s for x in labels for s in pair(x)]

    def run(self, encoder: FrozenEncoder, manifest: Manifest, cell: Cell) -> Predictions:
        """Score validation and test images against the prompts of the labels."""
        trains_on_nothing(cell)
        tower = text_tower(encoder)
        if tower is None:
            raise NotApplicableError(f"{encoder.spec.name} has no text tower")
        held_out = np.concatenate([manifest.rows_of("val"), manifest.rows_of("test")])
        features = beside_texts(encoder, np.asarray(encoder.pooled(manifest)[held_out], np.float32))
        scores = _scores(encoder, tower(self.texts(manifest)), features, manifest)
        targets = manifest.targets()[held_out].astype(np.float64)
        return predictions_of(
            cell, encoder, manifest, manifest.images.iloc[held_out], of_labels(manifest.labels, scores, targets),
            labels=manifest.labels, kind=manifest.kind, groups=manifest.groups, facts={"train_images": 0},
            notes=("scores are no calibrated probabilities; Brier score and ECE say little here",),
        )  # fmt: skip


TASK = ZeroShot()


def _scores(
    encoder: FrozenEncoder, texts: NDArray[np.float32], features: NDArray[np.float32], manifest: Manifest
) -> NDArray[np.float64]:
    """Scores [n, labels] of image embeddings [n, D] beside those of the prompts."""
    from scipy.special import expit, softmax

    same_space(encoder, features, texts)
    cosines = unit(features).astype(np.float64) @ texts.astype(np.float64).T
    if manifest.kind == "multiclass":
        return softmax(cosines, axis=1)
    return expit(cosines[:, 0::2] - cosines[:, 1::2])  # the softmax of two
