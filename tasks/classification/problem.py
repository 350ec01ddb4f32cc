"""What a classifier is to learn in a cell, and which labels can be learned at all."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.manifest import Manifest, Rows
from cxrbench.errors import NotApplicableError, UserError
from cxrbench.task import Cell
from cxrbench.tasks.classification.recipe import ClassifierRecipe
from cxrbench.tasks.classification.views import ClassifierKind
from cxrbench.tasks.training.recipe import training_rows


@dataclass(frozen=True)
class Problem:
    """What is to be learned. Rows count the images of one manifest.

    ``targets``: [n, L] float32, NaN where unknown or, of the training rows, where the label cannot be trained.
    ``studies``: [n], the study of each image, or None if images are predicted. ``seed``: of batches,
    augmentation and initial weights.
    """

    kind: ClassifierKind
    targets: NDArray[np.float32]
    train: Rows
    val: Rows
    test: Rows
    studies: NDArray[np.str_] | None
    recipe: ClassifierRecipe
    seed: int


def one_class_only(targets: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which labels [L] lack a positive or a negative among training rows [n, L], and so cannot be trained."""
    return ~((targets == 0).any(0) & (targets == 1).any(0))


def untrained(labels: Sequence[str], idle: NDArray[np.bool_]) -> tuple[str, ...]:
    """The note on labels [L] that cannot be trained; none without one."""
    names = ", ".join(label for label, i in zip(labels, idle, strict=True) if i)
    return (f"one class only among the training images, so not trained: {names}",) if names else ()


def check_classes(manifest: Manifest, rows: Rows) -> None:
    """Raise UserError if classes exclude each other and one of these rows has none."""
    if manifest.kind == "multiclass" and np.isnan(manifest.targets()[rows]).any():
        raise UserError(f"classes {', '.join(manifest.labels)}: some images have no class; give each one or drop them")


def posed(manifest: Manifest, recipe: ClassifierRecipe, cell: Cell) -> tuple[Problem, tuple[str, ...]]:
    """What is to be learned in a cell, and notes. A label with one class only among the training rows is not trained.

    Raises UserError if classes exclude each other and an image has none, NotApplicableError if no label can be trained.
    """
    images, targets = manifest.images, manifest.targets().copy()
    train, val, test = (manifest.rows_of(split) for split in ("train", "val", "test"))
    train = training_rows(recipe, train, images["patient_id"].to_numpy(str), targets, cell.fraction, cell.seed)
    notes: tuple[str, ...] = ()
    check_classes(manifest, np.concatenate([train, val]))
    if manifest.kind == "multiclass" and recipe.select == "per-label":
        raise NotApplicableError("its classes exclude each other, so they cannot each have an epoch of their own")
    if manifest.kind == "multilabel":
        idle = one_class_only(targets[train])
        notes = untrained(manifest.labels, idle)
        targets[np.ix_(np.concatenate([train, val]), np.flatnonzero(idle))] = np.nan
        if idle.all():
            raise NotApplicableError("every label has one class only among the training images")
    studies: NDArray[np.str_] | None = None if recipe.views is None else images["study_id"].to_numpy(str)
    return Problem(manifest.kind, targets, train, val, test, studies, recipe, cell.seed), notes
