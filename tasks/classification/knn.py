"""The ``knn`` protocol: weighted k-nearest neighbours on the cosine of frozen image embeddings.

Wu et al. (2018, section 3.4), Caron et al. (DINO, 2021): neighbour i votes with exp(cos_i / 0.07).
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.metrics import roc_auc_score

from cxrbench.data.manifest import Manifest
from cxrbench.errors import UserError
from cxrbench.predictions import Predictions
from cxrbench.task import Cell, FrozenEncoder, TaskOptions
from cxrbench.tasks.classification import views
from cxrbench.tasks.classification.views import parse_views, predictions_of, rows_with_views
from cxrbench.tasks.fractions import label_fraction

NEIGHBOURS = (5, 10, 20, 50, 200)
TEMPERATURE = 0.07
CHUNK = 2048  # queries at a time: [CHUNK, train] similarities are in memory
CERTAIN = 1e-12  # a vote of 0 or 1 has no logit; this one is told from it by nobody

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class NearestNeighbours:
    """The ``knn`` protocol: no training and no randomness; k is chosen on validation, one for all labels.

    Of the k of ``NEIGHBOURS`` that the training split can serve, the one with the best macro AUROC on validation is
    kept (the lowest Brier score where no label has an AUROC), the smallest among equals. A seed only picks the label
    fraction's patients. Studies are predicted by the mean of their images' votes: a vote is no logit.
    """

    views: str | None = None
    version: str = "1"
    summary: str = "k nearest neighbours on the cosine of frozen embeddings, k chosen on validation"
    opt_in: bool = False
    sees_test_truth: bool = False

    @property
    def protocol(self) -> str:
        """``knn``, ``knn+views2``."""
        return "knn" + (f"+views{self.views}" if self.views else "")

    def configured(self, options: TaskOptions) -> "NearestNeighbours":
        """With views. Raises UserError for a preset: no paper of them votes by neighbours."""
        if options.preset is not None:
            raise UserError(
                f"preset {options.preset} has no recipe for knn: leave --preset out, or name another protocol"
            )
        return replace(self, views=parse_views(options.views))

    def not_applicable(self, manifest: Manifest) -> str | None:
        """A dataset without labels, without one of the splits, or without the studies that ``views`` needs."""
        if not manifest.labels:
            return "it has no labels"
        empty = [split for split in ("train", "val", "test") if not len(manifest.rows_of(split))]
        return f"its {' and '.join(empty)} split is empty" if empty else views.not_applicable(manifest, self.views)

    def seeds_matter(self, fraction: float) -> bool:
        """At fraction 1 every seed gives the same bits."""
        return fraction < 1

    def run(self, encoder: FrozenEncoder, manifest: Manifest, cell: Cell) -> Predictions:
        """Vote for each k, keep the best on validation."""
        manifest = rows_with_views(manifest, self.views)
        features, targets = np.asarray(encoder.pooled(manifest), np.float32), manifest.targets()
        train, val, test = (manifest.rows_of(split) for split in ("train", "val", "test"))
        patients = manifest.images["patient_id"].to_numpy(str)
        train = train[label_fraction(patients[train], targets[train], cell.fraction, cell.seed)]
        held_out = np.concatenate([val, test])
        if manifest.kind == "multiclass" and np.isnan(targets[np.concatenate([train, val])]).any():
            raise UserError(
                f"classes {', '.join(manifest.labels)}: some images have no class; give each one or drop them"
            )
        scores = votes(features[train], targets[train], features[held_out], usable(len(train)))
        best = max(scores, key=lambda k: (*quality(scores[k][: len(val)], targets[val]), -k))
        idle = [i for i, y in enumerate(targets[train].T) if not ((y == 0).any() and (y == 1).any())]
        chosen = scores[best]
        notes: tuple[str, ...] = ()
        if idle and manifest.kind == "multilabel":
            chosen[:, idle] = np.nan
            names = ", ".join(manifest.labels[i] for i in idle)
            notes = (f"one class only among the training images, so not trained: {names}",)
        likely = np.clip(chosen, CERTAIN, 1 - CERTAIN)
        return predictions_of(
            logit(likely) if manifest.kind == "multilabel" else np.log(likely), held_out, manifest, encoder, cell,
            views=self.views, fusion="scores", train_images=len(train), notes=notes, facts={"chosen": {"k": best}},
        )  # fmt: skip


TASK = NearestNeighbours()


def usable(train: int) -> tuple[int, ...]:
    """The numbers of neighbours that a training set of this size has; all of it, if it is smaller than the smallest."""
    return tuple(k for k in NEIGHBOURS if k <= train) or (train,)


def votes(train: Floats, targets: Floats, queries: Floats, ks: tuple[int, ...]) -> dict[int, Doubles]:
    """For each k the share of positive votes [queries, L], among the k nearest training images with a known label.

    train: [n, D]; targets: [n, L] of 0, 1, NaN; queries: [q, D]. Labels known of the same images are looked up
    together. NaN for a label that is known of no image.
    """
    unit, asked = (torch.nn.functional.normalize(torch.from_numpy(x), dim=1) for x in (train, queries))
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
