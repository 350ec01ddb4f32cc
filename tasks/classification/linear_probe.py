"""Classification by linear probe: logistic regression on frozen, standardized image embeddings."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.manifest import Manifest
from cxrbench.looking.head import LinearHead
from cxrbench.predictions import Predictions
from cxrbench.task import Asked, Cell, FrozenEncoder, OptionName, Task, TaskOptions, Views
from cxrbench.tasks.classification import finetune, linear_sgd, views
from cxrbench.tasks.classification.problem import check_classes
from cxrbench.tasks.classification.trained import TrainedClassifier
from cxrbench.tasks.classification.views import classified, rows_with_views
from cxrbench.tasks.fractions import label_fraction
from cxrbench.tasks.presets.recipes import preset_for
from cxrbench.tasks.standardize import Standardizer

if TYPE_CHECKING:
    from cxrbench.tasks.classification.strengths import ChosenProbe

STRENGTHS = tuple(float(c) for c in np.logspace(-6, 2, 9))  # scikit-learn's C


class FittedProbe(NamedTuple):
    """A probe on standardized features, ``held_out``: the validation and test rows that its logits are of."""

    chosen: "ChosenProbe"
    standardize: Standardizer
    held_out: NDArray[np.int64]
    train_images: int


@dataclass(frozen=True, kw_only=True)
class LinearProbe(Task):
    """The ``classification`` protocol.

    Train rows of the label fraction fit one model per label and strength C; for each label (for all classes together
    where they exclude each other) the strength with the lowest validation log loss is kept. The whole validation
    split is used at every fraction, as the papers do. The probe is convex and has no randomness of its own: a seed
    only picks the label fraction's patients.
    """

    name: str = "classification"
    summary: str = "linear probe on frozen embeddings: AUROC, AUPRC, F1, accuracy, Brier score, ECE"
    revision: str = "2"
    reads: frozenset[OptionName] = frozenset({"views", "preset"})
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

    def configured(self, options: TaskOptions) -> Task:
        """With views; with a preset, the paper's own way to classify, be it a linear head or fine-tuning.

        Raises UserError for an unknown preset, NotApplicableError for one that does not classify.
        """
        if options.preset is None:
            return super().configured(options)
        recipes: dict[str, TrainedClassifier] = {"linear": linear_sgd.TASK, "finetune": finetune.TASK}
        protocol = recipes[preset_for(options.preset, "classification")["uses"]]
        return replace(protocol, name="classification", opt_in=False).configured(options)

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
        """Fit, select, predict. The test rows' targets are copied into the result and used for nothing else."""
        manifest = rows_with_views(manifest, self.views)
        probe = self._fitted(encoder, manifest, cell)
        return classified(
            probe.chosen.logits, probe.held_out, manifest, encoder, cell, views=self.views,
            train_images=probe.train_images, notes=probe.chosen.notes,
        )  # fmt: skip

    def head(self, encoder: FrozenEncoder, manifest: Manifest, cell: Cell) -> LinearHead:
        """The weights by which ``run`` predicts, on embeddings as the encoder gives them."""
        probe = self._fitted(encoder, rows_with_views(manifest, self.views), cell)
        weights = probe.chosen.weights / probe.standardize.scale
        return LinearHead(weights, probe.chosen.intercepts - weights @ probe.standardize.mean)

    def _fitted(self, encoder: FrozenEncoder, manifest: Manifest, cell: Cell) -> FittedProbe:
        """The probe of a manifest whose views have been chosen."""
        from cxrbench.tasks.classification.strengths import exclusive, independent

        features = np.asarray(encoder.pooled(manifest), np.float32)
        targets = manifest.targets()
        train, val, test = (manifest.rows_of(split) for split in ("train", "val", "test"))
        patients = manifest.images["patient_id"].to_numpy(str)
        train = train[label_fraction(patients[train], targets[train], cell.fraction, cell.seed)]
        held_out = np.concatenate([val, test])
        check_classes(manifest, np.concatenate([train, val]))
        standardize = Standardizer.of(features[train])
        x_train, x_held_out = (standardize(features[rows]).astype(np.float32) for rows in (train, held_out))
        probe = independent if manifest.kind == "multilabel" else exclusive
        chosen = probe(x_train, x_held_out, targets[train], targets[val], manifest.labels, STRENGTHS)
        return FittedProbe(chosen, standardize, held_out, len(train))


TASK = LinearProbe()
