"""Classification by linear probe: logistic regression on frozen, standardized image embeddings."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from cxrbench.data.manifest import Manifest
from cxrbench.errors import UserError
from cxrbench.predictions import Predictions
from cxrbench.task import Cell, FrozenEncoder, Task, TaskOptions
from cxrbench.tasks.classification import finetune, linear_sgd, views
from cxrbench.tasks.classification.logistic import fit_sigmoid, fit_softmax
from cxrbench.tasks.classification.trained import TrainedClassifier
from cxrbench.tasks.classification.views import parse_views, predictions_of, rows_with_views
from cxrbench.tasks.fractions import label_fraction
from cxrbench.tasks.presets.recipes import preset_for

STRENGTHS = tuple(float(c) for c in np.logspace(-6, 2, 9))  # scikit-learn's C

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class LinearProbe:
    """The ``classification`` protocol.

    Train rows of the label fraction fit one model per label and strength C; for each label (for all classes together
    where they exclude each other) the strength with the lowest validation log loss is kept. The whole validation
    split is used at every fraction, as the papers do. The probe is convex and has no randomness of its own: a seed
    only picks the label fraction's patients.
    """

    views: str | None = None
    version: str = "2"
    summary: str = "linear probe on frozen embeddings: AUROC, AUPRC, F1, accuracy, Brier score, ECE"
    opt_in: bool = False
    sees_test_truth: bool = False

    @property
    def protocol(self) -> str:
        """``classification``, ``classification+views2``."""
        return "classification" + (f"+views{self.views}" if self.views else "")

    def configured(self, options: TaskOptions) -> Task:
        """With views; with a preset, the paper's own way to classify, be it a linear head or fine-tuning.

        Raises UserError for unknown views or presets.
        """
        if options.preset is None:
            return replace(self, views=parse_views(options.views))
        recipes: dict[str, TrainedClassifier] = {"linear": linear_sgd.TASK, "finetune": finetune.TASK}
        task = recipes[preset_for(options.preset, "classification")["uses"]]
        return replace(task, name="classification", opt_in=False).configured(options)

    def not_applicable(self, manifest: Manifest) -> str | None:
        """A dataset without labels, or without one of the splits, cannot be probed."""
        if not manifest.labels:
            return "it has no labels"
        empty = [split for split in ("train", "val", "test") if not len(manifest.rows_of(split))]
        return f"its {' and '.join(empty)} split is empty" if empty else views.not_applicable(manifest, self.views)

    def seeds_matter(self, fraction: float) -> bool:
        """At fraction 1 every seed gives the same bits."""
        return fraction < 1

    def run(self, encoder: FrozenEncoder, manifest: Manifest, cell: Cell) -> Predictions:
        """Fit, select, predict. The test rows' targets are copied into the result and used for nothing else."""
        manifest = rows_with_views(manifest, self.views)
        features = np.asarray(encoder.pooled(manifest), np.float32)
        targets = manifest.targets()
        train, val, test = (manifest.rows_of(split) for split in ("train", "val", "test"))
        patients = manifest.images["patient_id"].to_numpy(str)
        train = train[label_fraction(patients[train], targets[train], cell.fraction, cell.seed)]
        held_out = np.concatenate([val, test])
        probe = _multilabel if manifest.kind == "multilabel" else _multiclass
        margins, notes = probe(
            *_standardize(features[train], features[held_out]), targets[train], targets[val], manifest.labels
        )
        return predictions_of(
            margins, held_out, manifest, encoder, cell, views=self.views, train_images=len(train), notes=notes
        )


TASK = LinearProbe()


def _standardize(train: Floats, held_out: Floats) -> tuple[torch.Tensor, torch.Tensor]:
    """Zero mean and unit variance on the training rows; constant features become 0."""
    mean, std = train.mean(0, dtype=np.float64), train.std(0, dtype=np.float64)
    std[std < 1e-6 * max(float(std.max()), 1e-30)] = np.inf
    return (
        torch.from_numpy(((train - mean) / std).astype(np.float32)),
        torch.from_numpy(((held_out - mean) / std).astype(np.float32)),
    )


def _multilabel(
    train: torch.Tensor, held_out: torch.Tensor, y_train: Floats, y_val: Floats, labels: tuple[str, ...]
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Logits [val + test, L] and notes. A label with one class only in training gets NaN and a note."""
    logits = np.full((len(held_out), len(labels)), np.nan)
    usable = np.flatnonzero([(y == 0).any() and (y == 1).any() for y in y_train.T])
    idle = [label for i, label in enumerate(labels) if i not in usable]
    notes: tuple[str, ...] = (
        (f"one class only among the training images, so not trained: {', '.join(idle)}",) if idle else ()
    )
    if not len(usable):
        return logits, notes
    strengths = torch.tensor(STRENGTHS)
    model = fit_sigmoid(train, torch.from_numpy(y_train[:, usable]), strengths)
    margins = model.margins(held_out).reshape(len(held_out), len(strengths), len(usable)).double()
    y = torch.from_numpy(y_val[:, None, usable]).double().expand(-1, len(strengths), -1)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        margins[: len(y_val)], y.nan_to_num(0), reduction="none"
    )
    loss = torch.where(y.isnan(), torch.nan, loss).nanmean(0)  # [S, L]
    best = loss.argmin(0)
    # A label that validation cannot judge takes the strength that suits the others.
    judged = torch.tensor([bool((v == 0).any() and (v == 1).any()) for v in y_val[:, usable].T])
    common = loss[:, judged].mean(1).argmin() if bool(judged.any()) else torch.tensor(len(strengths) // 2)
    best = torch.where(judged, best, common)
    unjudged = [labels[usable[i]] for i in np.flatnonzero(~judged.numpy())]
    if unjudged:
        notes += (f"one class only among the validation images, so regularised as the others: {', '.join(unjudged)}",)
    chosen = model.converged.reshape(len(strengths), len(usable))[best, torch.arange(len(usable))]
    notes += tuple(f"{labels[usable[i]]}: the probe did not converge" for i in np.flatnonzero(~chosen.numpy()))
    logits[:, usable] = margins[:, best, torch.arange(len(usable))].numpy()
    return logits, notes


def _multiclass(
    train: torch.Tensor, held_out: torch.Tensor, y_train: Floats, y_val: Floats, labels: tuple[str, ...]
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Logits [val + test, K] of classes that exclude each other, and notes."""
    if np.isnan(y_train).any() or np.isnan(y_val).any():
        raise UserError(f"classes {', '.join(labels)}: some images have no class; give each one or drop them")
    model = fit_softmax(train, torch.from_numpy(y_train), torch.tensor(STRENGTHS))
    margins = model.margins(held_out).double()  # [n, S, K]
    truth = torch.from_numpy(y_val.argmax(1))
    loss = [torch.nn.functional.cross_entropy(margins[: len(y_val), s], truth).item() for s in range(len(STRENGTHS))]
    return margins[:, int(np.argmin(loss))].numpy(), ()
