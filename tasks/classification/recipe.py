"""How a classifier is trained: optimizer, schedule, selection, as a default or a paper has it."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from cxrbench.errors import UserError
from cxrbench.tasks.fractions import label_fraction
from cxrbench.tasks.presets.recipes import honour

CHOICES: Mapping[str, tuple[str, ...]] = {
    "optimizer": ("adamw", "adam", "sgd"),
    "schedule": ("cosine", "constant"),
    "step_per": ("batch", "epoch"),
    "select": ("val_loss", "val_auroc", "last"),
    "batch_of": ("images", "studies"),
    "fraction_draw": ("patients", "images", "images-with-positives"),
}
DRAWS = 1000  # of a fraction that must hold a positive of each label, before giving up


@dataclass(frozen=True)
class ClassifierRecipe:
    """The settings of ``presets.KEYS`` for classifiers, with neutral defaults.

    ``learning_rates``: tried one after the other, the best on validation kept; each is for batches of
    ``learning_rate_images`` (0: of whatever size). ``standardize``: embeddings to zero mean and unit variance first
    (linear heads on cached embeddings only). ``warmup_start``: share of the learning rate at the start of the warm-up.
    """

    learning_rates: tuple[float, ...]
    optimizer: str = "adamw"
    learning_rate_images: int = 0
    momentum: float = 0.9
    batch_size: int = 256
    batch_of: str = "images"
    drop_last: bool = False
    weight_decay: float = 0.0
    decay_all: bool = False
    epochs: int = 100
    warmup_epochs: int = 0
    warmup_start: float = 0.0
    schedule: str = "cosine"
    step_per: str = "batch"
    min_learning_rate: float = 0.0
    patience: int | None = None
    select: str = "val_loss"
    select_every: int = 1
    augmentation: tuple[Mapping[str, Any], ...] = ()
    frame: Mapping[str, Any] | None = None
    head_init_std: float | None = None
    max_views: int | None = None
    fraction_draw: str = "patients"
    fraction_seed: int = 0
    layer_decay: float = 1.0
    drop_path: float = 0.0
    standardize: bool = False

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise UserError(f"{name} is one of {', '.join(known)}, not {getattr(self, name)!r}")


OF_THE_TASK = ("note", "views", "fusion")
"""Settings of a preset that the task itself takes, not the training."""


def recipe_of(settings: Mapping[str, Any], who: str) -> ClassifierRecipe:
    """The recipe that a preset's section describes. Raises UserError for a setting that training cannot honour."""
    known = {field.name for field in fields(ClassifierRecipe)}
    given = {key: value for key, value in settings.items() if key not in OF_THE_TASK}
    given["learning_rates"] = (float(given.pop("learning_rate")),)
    if "augmentation" in given:
        given["augmentation"] = tuple(given["augmentation"])
    honour(given, known, who)
    return ClassifierRecipe(**given)


def learning_rate(recipe: ClassifierRecipe, peak: float, epoch: float) -> float:
    """At ``epoch`` (with its fraction): linear warm-up, then constant or half a cosine to ``min_learning_rate``."""
    if recipe.step_per == "epoch":
        epoch = math.floor(epoch)
    if epoch < recipe.warmup_epochs:
        return peak * (recipe.warmup_start + (1 - recipe.warmup_start) * epoch / recipe.warmup_epochs)
    if recipe.schedule == "constant":
        return peak
    progress = (epoch - recipe.warmup_epochs) / max(1e-9, recipe.epochs - recipe.warmup_epochs)
    floor = min(recipe.min_learning_rate, peak)
    return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def peak_rate(recipe: ClassifierRecipe, rate: float) -> float:
    """The learning rate for the recipe's batches (Goyal et al. 2017: linear in the batch size)."""
    return rate * recipe.batch_size / recipe.learning_rate_images if recipe.learning_rate_images else rate


def optimizer_of(recipe: ClassifierRecipe, groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
    """The optimizer; ``groups`` carry ``lr_scale``, a share of the learning rate that ``set_rate`` gives them."""
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(list(groups), lr=0.0, momentum=recipe.momentum)
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(list(groups), lr=0.0)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of the learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)


def head_groups(head: nn.Module, recipe: ClassifierRecipe) -> list[dict[str, Any]]:
    """The parameter groups of a linear head: its bias is decayed only with ``decay_all``."""
    decayed = [p for p in head.parameters() if p.ndim > 1 or recipe.decay_all]
    others = [p for p in head.parameters() if p.ndim <= 1 and not recipe.decay_all]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [{**group, "lr_scale": 1.0} for group in groups if group["params"]]


def training_rows(
    recipe: ClassifierRecipe, rows: NDArray[np.int64], patients: NDArray[np.str_], targets: NDArray[np.float32],
    fraction: float, seed: int,
) -> NDArray[np.int64]:  # fmt: skip
    """The training rows of a label fraction, sorted: whole patients (ours), or single images as papers draw them.

    ``images``: pandas' ``sample(frac, random_state=fraction_seed + seed)``, as MGCA. ``images-with-positives``: the
    same, with the next random state until every label that has a positive has one in the sample, as PaCX-MAE.
    """
    if fraction == 1:
        return rows
    if recipe.fraction_draw == "patients":
        return rows[label_fraction(patients[rows], targets[rows], fraction, seed)]
    wanted = (targets[rows] == 1).any(0) & (recipe.fraction_draw == "images-with-positives")
    for attempt in range(DRAWS):
        state = recipe.fraction_seed + seed + attempt
        drawn = np.sort(pd.Series(rows).sample(frac=fraction, random_state=state).to_numpy(np.int64))
        if len(drawn) and ((targets[drawn] == 1).any(0) | ~wanted).all():
            return drawn
    raise UserError(f"no draw of {fraction:.3g} of {len(rows)} images has a positive of every label: raise --fractions")
