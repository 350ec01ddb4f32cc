"""Classification without training: which of two sentences is nearer to the image?"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, softmax

from cxrbench.data.manifest import Manifest
from cxrbench.errors import NotApplicableError
from cxrbench.predictions import Predictions, encoder_facts
from cxrbench.task import Cell, FrozenEncoder, TaskOptions
from cxrbench.tasks.classification.prompts import of_class, pair
from cxrbench.tasks.retrieval.ranking import trains_on_nothing, unit
from cxrbench.tasks.retrieval.text_tower import TextTower, beside_texts, same_space, text_tower


@dataclass(frozen=True)
class ZeroShot:
    """The ``zero-shot`` protocol, for encoders with a text tower.

    Independent labels: CheXzero's softmax over the cosines with "LABEL" and "no LABEL" (Tiu et al. 2022; without a
    temperature, as in its code). Classes that exclude each other: softmax over the cosines with one prompt per class.
    The order of the scores, and which one is above 0.5, mean something; as probabilities they hug 0.5.
    """

    protocol: str = "zero-shot"
    version: str = "1"
    summary: str = "classification from prompts, for encoders with a text tower: AUROC, AUPRC, F1, accuracy"
    opt_in: bool = False
    sees_test_truth: bool = False

    def configured(self, options: TaskOptions) -> "ZeroShot":
        """It has no options."""
        del options
        return self

    def not_applicable(self, manifest: Manifest) -> str | None:
        """It needs labels and test images."""
        if not manifest.labels:
            return "it has no labels"
        return None if len(manifest.rows_of("test")) else "its test split is empty"

    def seeds_matter(self, fraction: float) -> bool:
        """Nothing is trained."""
        del fraction
        return False

    def run(self, encoder: FrozenEncoder, manifest: Manifest, cell: Cell) -> Predictions:
        """Score validation and test images against the prompts of the labels."""
        trains_on_nothing(cell)
        tower = text_tower(encoder)
        if tower is None:
            raise NotApplicableError(f"{encoder.spec.name} has no text tower")
        held_out = np.concatenate([manifest.rows_of("val"), manifest.rows_of("test")])
        features = beside_texts(encoder, np.asarray(encoder.pooled(manifest)[held_out], np.float32))
        scores = _scores(encoder, tower, features, manifest)
        targets = manifest.targets()[held_out].astype(np.float64)
        rows = manifest.images.iloc[held_out][["image_id", "patient_id", "split"]].reset_index(drop=True)
        columns = {f"score:{label}": scores[:, i] for i, label in enumerate(manifest.labels)}
        columns |= {f"target:{label}": targets[:, i] for i, label in enumerate(manifest.labels)}
        return Predictions(
            rows=pd.concat([rows, pd.DataFrame(columns)], axis=1),
            labels=manifest.labels,
            kind=manifest.kind,
            groups=manifest.groups,
            synthetic=manifest.synthetic,
            cell=cell.facts() | {"train_images": 0},
            encoder=encoder_facts(encoder.spec),
            dataset=manifest.facts(),
            notes=("scores are no calibrated probabilities; Brier score and ECE say little here",),
        )  # fmt: skip


TASK = ZeroShot()


def _scores(
    encoder: FrozenEncoder, tower: TextTower, features: NDArray[np.float32], manifest: Manifest
) -> NDArray[np.float64]:
    """Scores [n, labels] of image embeddings [n, D]."""
    exclusive = manifest.kind == "multiclass"
    prompts = [of_class(x) for x in manifest.labels] if exclusive else [s for x in manifest.labels for s in pair(x)]
    texts = tower(prompts)
    same_space(encoder, features, texts)
    cosines = unit(features).astype(np.float64) @ texts.astype(np.float64).T
    if exclusive:
        return softmax(cosines, axis=1)
    return expit(cosines[:, 0::2] - cosines[:, 1::2])  # the softmax of two
