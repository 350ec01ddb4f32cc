"""What the classifiers trained by gradient descent (``linear``, ``finetune``) have in common as protocols."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from cxrbench.data.manifest import Manifest
from cxrbench.predictions import Predictions
from cxrbench.task import Cell, FrozenEncoder, OptionName, Task, TaskOptions, Views
from cxrbench.tasks.classification import views
from cxrbench.tasks.classification.problem import Problem, posed
from cxrbench.tasks.classification.recipe import ClassifierRecipe, recipe_of
from cxrbench.tasks.classification.views import Logits, classified, rows_with_views
from cxrbench.tasks.presets.recipes import merged_sets, preset_for
from cxrbench.tasks.presets.task import PresetTask


class Trained(NamedTuple):
    """Logits [val + test, L], what was chosen on validation, and notes."""

    logits: Logits
    facts: Mapping[str, Any]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TrainedClassifier(PresetTask):
    """A classifier trained by gradient descent, by its own recipe or by a paper's.

    The protocol names what differs from the default:
    ``linear+views2``, ``finetune+preset-spcl``, ``classification+preset-fane+epochs5``.
    """

    recipe: ClassifierRecipe
    elsewhere: bool = True
    views: Views | None = None
    epochs: int | None = None
    opt_in: bool = True
    reads: frozenset[OptionName] = frozenset({"views", "preset", "epochs"})

    @property
    def settings(self) -> tuple[str, ...]:
        """``views2``, ``preset-spcl``, ``epochs5``."""
        epochs = [f"epochs{self.epochs}"] if self.epochs else []
        return (*views.setting(self.views), *self.preset_setting, *epochs)

    def configured(self, options: TaskOptions) -> Task:
        """With views, a preset, or fewer epochs. Raises NotApplicableError for a preset without such a recipe."""
        if options.preset is not None:
            recipe_of(preset_for(options.preset, self.section), self.name)
            merged = self.elsewhere and bool(merged_sets(options.preset))
            return replace(super().configured(options), elsewhere=merged)
        return super().configured(options)

    def taking_part(self, manifest: Manifest) -> Manifest:
        """Of each study the views that are fused."""
        return rows_with_views(manifest, self._recipe(manifest.name, None).views)

    def not_applicable(self, manifest: Manifest) -> str | None:
        """A dataset without labels, without one of the splits, or without the studies that ``views`` needs."""
        fused = self._recipe(manifest.name, None).views
        return super().not_applicable(manifest) or views.not_applicable(manifest, fused)

    def run(self, encoder: FrozenEncoder, manifest: Manifest, cell: Cell) -> Predictions:
        """Train, select on validation, predict."""
        recipe, said = self._recipe(manifest.name, cell.fraction), self.told(manifest.name, cell.fraction)
        manifest = rows_with_views(manifest, recipe.views)
        problem, notes = posed(manifest, recipe, cell)
        trained = self.train(encoder, manifest, problem)
        logits = trained.logits.copy()
        if manifest.kind == "multilabel":
            logits[:, np.isnan(problem.targets[problem.train]).all(0)] = np.nan
        return classified(
            logits, np.concatenate([problem.val, problem.test]), manifest, encoder, cell, views=recipe.views,
            fusion=recipe.fusion, train_images=len(problem.train), notes=(*notes, *trained.notes, *said),
            facts={"chosen": dict(trained.facts)},
        )  # fmt: skip

    def images_in_training(self, manifest: Manifest, cell: Cell) -> int:
        """In all epochs at all learning rates, with the images by which it selects and those that it predicts."""
        train, val, test = (len(manifest.rows_of(split)) for split in ("train", "val", "test"))
        return round(self.met(self._recipe(manifest.name, cell.fraction), cell.fraction * train, val, test))

    def met(self, recipe: ClassifierRecipe, train: float, val: int, test: int) -> float:
        """Over how many images the encoder runs, of so many that are trained on, selected by and tested."""
        raise NotImplementedError

    def train(self, encoder: FrozenEncoder, manifest: Manifest, problem: Problem) -> Trained:
        """Logits of the validation and test rows."""
        raise NotImplementedError

    def _recipe(self, dataset: str, fraction: float | None) -> ClassifierRecipe:
        """The recipe on a dataset at a label fraction."""
        settings = self.paper_settings(dataset, fraction)
        recipe = self.recipe if self.preset is None else recipe_of(settings, self.protocol)
        epochs = recipe.epochs if self.epochs is None else min(recipe.epochs, self.epochs)
        return replace(recipe, epochs=epochs, views=self.views or recipe.views)
