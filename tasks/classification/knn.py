"""The ``knn`` protocol: weighted k-nearest neighbours on the cosine of frozen image embeddings.

Wu et al. (2018, section 3.4), Caron et al. (DINO, 2021): neighbour i votes with exp(cos_i / 0.07).
"""

from dataclasses import dataclass

import numpy as np

from cxrbench.data.manifest import Manifest
from cxrbench.predictions import Predictions
from cxrbench.task import Asked, Cell, FrozenEncoder, OptionName, Task, Views
from cxrbench.tasks.classification import views
from cxrbench.tasks.classification.problem import check_classes, one_class_only, untrained
from cxrbench.tasks.classification.views import classified, rows_with_views
from cxrbench.tasks.fractions import label_fraction

CERTAIN = 1e-12  # a vote of 0 or 1 has no logit; this one is told from it by nobody


@dataclass(frozen=True, kw_only=True)
class NearestNeighbours(Task):
    """The ``knn`` protocol: no training and no randomness; k is chosen on validation, one for all labels.

    Of the k of ``NEIGHBOURS`` that the training split can serve, the one with the best macro AUROC on validation is
    kept (the lowest Brier score where no label has an AUROC), the smallest among equals. A seed only picks the label
    fraction's patients. Studies are predicted by the mean of their images' votes: a vote is no logit.
    """

    name: str = "knn"
    summary: str = "k nearest neighbours on the cosine of frozen embeddings, k chosen on validation"
    reads: frozenset[OptionName] = frozenset({"views"})
    elsewhere: bool = True
    views: Views | None = None

    @property
    def asks(self) -> frozenset[Asked] | None:
        """Image embeddings."""
        return frozenset({"pooled"})

    @property
    def settings(self) -> tuple[str, ...]:
        """``views2``."""
        return views.setting(self.views)

    def taking_part(self, manifest: Manifest) -> Manifest:
        """Of each study the views that are fused."""
        return rows_with_views(manifest, self.views)

    def not_applicable(self, manifest: Manifest) -> str | None:
        """A dataset without labels, without one of the splits, or without the studies that ``views`` needs."""
        return super().not_applicable(manifest) or views.not_applicable(manifest, self.views)

    def seeds_matter(self, fraction: float) -> bool:
        """At fraction 1 every seed gives the same bits."""
        return fraction < 1

    def run(self, encoder: FrozenEncoder, manifest: Manifest, cell: Cell) -> Predictions:
        """Vote for each k, keep the best on validation."""
        from scipy.special import logit

        from cxrbench.tasks.classification.neighbours import quality, usable, votes

        manifest = rows_with_views(manifest, self.views)
        features, targets = np.asarray(encoder.pooled(manifest), np.float32), manifest.targets()
        train, val, test = (manifest.rows_of(split) for split in ("train", "val", "test"))
        patients = manifest.images["patient_id"].to_numpy(str)
        train = train[label_fraction(patients[train], targets[train], cell.fraction, cell.seed)]
        held_out = np.concatenate([val, test])
        check_classes(manifest, np.concatenate([train, val]))
        scores = votes(features[train], targets[train], features[held_out], usable(len(train)))
        best = max(scores, key=lambda k: (*quality(scores[k][: len(val)], targets[val]), -k))
        chosen = scores[best]
        notes: tuple[str, ...] = ()
        if manifest.kind == "multilabel":
            idle = one_class_only(targets[train])
            chosen[:, idle] = np.nan
            notes = untrained(manifest.labels, idle)
        likely = np.clip(chosen, CERTAIN, 1 - CERTAIN)
        return classified(
            logit(likely) if manifest.kind == "multilabel" else np.log(likely), held_out, manifest, encoder, cell,
            views=self.views, fusion="scores", train_images=len(train), notes=notes, facts={"chosen": {"k": best}},
        )  # fmt: skip


TASK = NearestNeighbours()
