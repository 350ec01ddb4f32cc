"""What the classifiers trained by gradient descent (``linear``, ``finetune``) have in common as tasks."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.manifest import Manifest
from cxrbench.errors import NotApplicableError, UserError
from cxrbench.predictions import Predictions
from cxrbench.task import Cell, FrozenEncoder, TaskOptions
from cxrbench.tasks.classification import views
from cxrbench.tasks.classification.recipe import ClassifierRecipe, recipe_of, training_rows
from cxrbench.tasks.classification.training import Problem
from cxrbench.tasks.classification.views import Fusion, Logits, parse_views, predictions_of, rows_with_views
from cxrbench.tasks.presets import data as preset_data
from cxrbench.tasks.presets.recipes import parse, preset_for


class Trained(NamedTuple):
    """Logits [val + test, L], what was chosen on validation, and notes."""

    logits: Logits
    facts: Mapping[str, float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainedClassifier:
    """A classifier trained by gradient descent, by its own recipe or by a paper's.

    ``name``: the protocol without options; ``section``: the table of a preset that it follows. The protocol names
    what differs from the default: ``linear+views2``, ``finetune+preset-spcl``, ``classification+preset-fane+epochs5``.
    """

    name: str
    section: str
    summary: str
    recipe: ClassifierRecipe
    views: str | None = None
    preset: str | None = None
    epochs: int | None = None
    opt_in: bool = True
    sees_test_truth: bool = False

    @property
    def protocol(self) -> str:
        """Its name with the options that differ from the default."""
        parts = [self.name]
        parts += [f"+views{self.views}"] if self.views else []
        parts += [parse(self.preset).suffix] if self.preset else []
        parts += [f"+epochs{self.epochs}"] if self.epochs else []
        return "".join(parts)

    @property
    def version(self) -> str:
        """Part of every cell's identity; with a preset, so is the preset's file."""
        if self.preset is None:
            return "1"
        text = (files("cxrbench.tasks") / "presets" / f"{parse(self.preset).name}.toml").read_bytes()
        return f"1, preset {hashlib.sha256(text).hexdigest()[:12]}"

    def configured(self, options: TaskOptions) -> "TrainedClassifier":
        """With views, a preset, or fewer epochs. Raises UserError for a preset without such a recipe."""
        if options.preset is not None:
            try:
                settings = preset_for(options.preset, self.section)
            except NotApplicableError as error:
                raise UserError(f"{error}: name another protocol, or leave --preset out") from error
            recipe_of(settings, self.name)
        return replace(self, views=parse_views(options.views), preset=options.preset, epochs=options.epochs)

    def adapted(self, manifest: Manifest) -> Manifest:
        """The dataset as the preset splits and reads it."""
        return manifest if self.preset is None else preset_data.adapted(manifest, self.preset, self.section)

    def not_applicable(self, manifest: Manifest) -> str | None:
        """A dataset without labels, without one of the splits, or without the studies that ``views`` needs."""
        if not manifest.labels:
            return "it has no labels"
        empty = [split for split in ("train", "val", "test") if not len(manifest.rows_of(split))]
        if empty:
            return f"its {' and '.join(empty)} split is empty"
        return views.not_applicable(manifest, self._views(self._settings(manifest.name, None)))

    def seeds_matter(self, fraction: float) -> bool:
        """A seed draws the training images, the batches, the augmentation and the initial weights."""
        del fraction
        return True

    def run(self, encoder: FrozenEncoder, manifest: Manifest, cell: Cell) -> Predictions:
        """Train, select on validation, predict."""
        settings = self._settings(manifest.name, cell.fraction)
        recipe = self.recipe if self.preset is None else recipe_of(settings, self.protocol)
        if self.epochs is not None:
            recipe = replace(recipe, epochs=min(recipe.epochs, self.epochs))
        fused, fusion = self._views(settings), _fusion(settings)
        manifest = rows_with_views(manifest, fused)
        problem, notes = posed(manifest, recipe, cell, fused, fusion)
        trained = self.train(encoder, manifest, problem)
        notes += (*trained.notes, *((str(settings["note"]),) if "note" in settings else ()))
        logits = trained.logits.copy()
        idle = np.isnan(problem.targets[problem.train]).all(0)
        if manifest.kind == "multilabel":
            logits[:, idle] = np.nan
        return predictions_of(
            logits, np.concatenate([problem.val, problem.test]), manifest, encoder, cell, views=fused, fusion=fusion,
            train_images=len(problem.train), notes=notes, facts={"chosen": dict(trained.facts)},
        )  # fmt: skip

    def train(self, encoder: FrozenEncoder, manifest: Manifest, problem: Problem) -> Trained:
        """Logits of the validation and test rows."""
        raise NotImplementedError

    def _settings(self, dataset: str, fraction: float | None) -> Mapping[str, Any]:
        return {} if self.preset is None else preset_for(self.preset, self.section, dataset, fraction)

    def _views(self, settings: Mapping[str, Any]) -> str | None:
        return self.views or parse_views(settings.get("views"))


def _fusion(settings: Mapping[str, Any]) -> Fusion:
    fusion = settings.get("fusion", "logits")
    if fusion not in ("logits", "scores"):
        raise UserError(f"fusion is logits or scores, not {fusion!r}")
    return fusion


def posed(
    manifest: Manifest, recipe: ClassifierRecipe, cell: Cell, fused: str | None, fusion: Fusion
) -> tuple[Problem, tuple[str, ...]]:
    """What is to be learned in a cell, and notes. A label with one class only among the training rows is not trained.

    Raises UserError if classes exclude each other and an image has none.
    """
    images, targets = manifest.images, manifest.targets().copy()
    train, val, test = (manifest.rows_of(split) for split in ("train", "val", "test"))
    train = training_rows(recipe, train, images["patient_id"].to_numpy(str), targets, cell.fraction, cell.seed)
    notes: tuple[str, ...] = ()
    if manifest.kind == "multiclass":
        if np.isnan(targets[np.concatenate([train, val])]).any():
            raise UserError(
                f"classes {', '.join(manifest.labels)}: some images have no class; give each one or drop them"
            )
    else:
        y = targets[train]
        idle = ~((y == 0).any(0) & (y == 1).any(0))
        if idle.any():
            names = ", ".join(label for label, i in zip(manifest.labels, idle, strict=True) if i)
            notes += (f"one class only among the training images, so not trained: {names}",)
            targets[np.ix_(train, np.flatnonzero(idle))] = np.nan
            targets[np.ix_(val, np.flatnonzero(idle))] = np.nan
            if idle.all():
                raise NotApplicableError("every label has one class only among the training images")
    studies: NDArray[np.str_] | None = None if fused is None else images["study_id"].to_numpy(str)
    return Problem(manifest.kind, targets, train, val, test, studies, fusion, recipe, cell.seed), notes
