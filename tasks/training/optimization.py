"""Learning rates, optimizers and parameter groups of a recipe."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from cxrbench.encoders.pretraining.schedule import half_cosine
from cxrbench.tasks.training.recipe import TrainingRecipe


def learning_rate(recipe: TrainingRecipe, peak: float, epoch: float) -> float:
    """At ``epoch`` (with its fraction): linear warm-up, then constant or half a cosine to ``min_learning_rate``."""
    if recipe.step_per == "epoch":
        epoch = math.floor(epoch)
    if epoch < recipe.warmup_epochs:
        return peak * (recipe.warmup_start + (1 - recipe.warmup_start) * epoch / recipe.warmup_epochs)
    if recipe.schedule == "constant":
        return peak
    progress = (epoch - recipe.warmup_epochs) / max(1e-9, recipe.epochs - recipe.warmup_epochs)
    return half_cosine(peak, min(recipe.min_learning_rate, peak), progress)


def peak_rate(recipe: TrainingRecipe, rate: float) -> float:
    """The learning rate for the recipe's batches (Goyal et al. 2017: linear in the batch size)."""
    return rate * recipe.batch_size / recipe.learning_rate_images if recipe.learning_rate_images else rate


def optimizer_of(recipe: TrainingRecipe, groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
    """The optimizer; ``groups`` carry ``lr_scale``, a share of the learning rate that ``set_rate`` gives them."""
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(list(groups), lr=0.0, momentum=recipe.momentum)
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(list(groups), lr=0.0)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of the learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)


def head_groups(head: nn.Module, recipe: TrainingRecipe) -> list[dict[str, Any]]:
    """The parameter groups of a linear head: its bias is decayed only with ``decay_all``."""
    decayed = [p for p in head.parameters() if p.ndim > 1 or recipe.decay_all]
    others = [p for p in head.parameters() if p.ndim <= 1 and not recipe.decay_all]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [{**group, "lr_scale": 1.0} for group in groups if group["params"]]
