"""The training loop of what sits on an encoder's maps: schedule, selection on validation, best weights kept."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cxrbench.encoders.pretraining.schedule import learning_rate_factor
from cxrbench.errors import UserError
from cxrbench.features.device import autocast
from cxrbench.task import RunContext
from cxrbench.tasks.dense.recipe import DenseRecipe
from cxrbench.tasks.training.optimization import head_groups, learning_rate, optimizer_of, peak_rate

Examples = NDArray[np.int64]


@dataclass(frozen=True)
class Fitted:
    """``losses``: validation loss after each round; ``best``: the round (from 0) whose weights were kept.

    ``chosen``: its epoch (from 1) and what was measured then; ``steps``: optimizer steps.
    """

    losses: tuple[float, ...]
    best: int
    steps: int
    chosen: Mapping[str, float]

    def facts(self) -> dict[str, Any]:
        """What a cell tells of its training."""
        return {"steps": self.steps, "validation_losses": list(self.losses), "chosen": dict(self.chosen)}


def train_model(
    model: nn.Module,
    draw: Callable[[int], Examples],
    loss: Callable[[Examples], Tensor],
    validate: Callable[[], Mapping[str, float]],
    recipe: DenseRecipe,
    context: RunContext,
    *,
    what: str,
    select: str = "val_loss",
    groups: Sequence[dict[str, Any]] | None = None,
) -> Fitted:
    """Train ``model`` in place and leave it in eval mode with the weights of the best round.

    The number of optimizer steps is ``epochs`` epochs of ``batch_size`` examples, or ``min_steps`` where the data are
    few. They are cut into ``epochs`` rounds. After each (every ``select_every`` and the last) follows a validation;
    after ``patience`` rounds without a better one training ends.

    ``draw(epoch)``: the examples [n, ...] of an epoch, in order; ``loss(examples)``: the mean loss of a batch of them;
    ``validate()``: ``val_loss`` (less is better), and what else ``select`` names (more is better; ``last``: the last
    round is kept). Both run the model under autocast, ``validate`` without gradients. ``groups``: parameter groups with
    ``lr_scale``, a share of the learning rate [default: all parameters that want gradients, 1]. Raises UserError when
    the loss is no longer finite.
    """
    options = context.options
    groups = groups or head_groups(model, recipe)
    optimizer = optimizer_of(recipe, groups)
    steps = max(recipe.min_steps, recipe.epochs * len(_batches(draw(0), recipe)))
    ends = [math.ceil(steps * (i + 1) / recipe.epochs) for i in range(recipe.epochs)]
    losses: list[float] = []
    best: tuple[int, float, dict[str, Tensor], Mapping[str, float]] = (0, -math.inf, {}, {})
    round_of = {end: i for i, end in enumerate(ends)}
    model.train()
    step = 0
    for step, examples in zip(range(1, steps + 1), _stream(draw, recipe), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = _rate(recipe, group["lr_scale"] * peak_rate(recipe, recipe.learning_rate), step - 1, steps)
        optimizer.zero_grad(set_to_none=True)
        with autocast(options.device, options.precision):
            value = loss(examples)
        if not math.isfinite(value.item()):
            raise UserError(f"{what}: the training loss became {value.item()} at step {step}; try --precision fp32")
        value.backward()
        if recipe.clip is not None:
            nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], recipe.clip)
        optimizer.step()
        context.progress.train(what, step, steps)
        if (at := round_of.get(step)) is None or not _looked_at(at, recipe, select):
            continue
        model.eval()
        with torch.inference_mode(), autocast(options.device, options.precision):
            measured = validate()
        model.train()
        losses.append(float(measured["val_loss"]))
        score = {"val_loss": -losses[-1], "last": float(at)}.get(select, measured.get(select, math.nan))
        if len(losses) == 1 or score > best[1]:
            best = (at, score, copy.deepcopy(model.state_dict()), {"epoch": at + 1, **measured})
        if recipe.patience is not None and at - best[0] >= recipe.patience:
            break
    model.load_state_dict(best[2])
    model.eval()
    return Fitted(tuple(losses), best[0], step, best[3])


def _looked_at(at: int, recipe: DenseRecipe, select: str) -> bool:
    """Whether round ``at`` (from 0) is validated."""
    return at + 1 == recipe.epochs or (select != "last" and (at + 1) % recipe.select_every == 0)


def _rate(recipe: DenseRecipe, peak: float, step: int, steps: int) -> float:
    """The learning rate of a step (from 0): by share of the steps as ours, or by epochs as papers state it."""
    if recipe.warmup_share:
        return peak * learning_rate_factor(step, steps, max(1, round(recipe.warmup_share * steps)))
    return learning_rate(recipe, peak, step / steps * recipe.epochs)


def epoch_of(
    recipe: DenseRecipe, train: NDArray[np.int64], shown: NDArray[np.bool_], epoch: int, copy: int, seed: int
) -> Examples:
    """(row, copy) of an epoch in random order: every image; or every one that shows something, as many that do not."""
    rng = np.random.default_rng([seed, epoch])
    some, none = train[shown], train[~shown]
    if recipe.sampling == "balanced" and len(some):
        none = rng.choice(none, min(len(none), len(some)), replace=False)
    rows = rng.permutation(np.concatenate([some, none]))
    return np.stack([rows, np.full_like(rows, copy)], 1)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Make weight initialisation, dropout and kernels reproducible inside; leave torch's generators as they were."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        torch.manual_seed(seed)
        yield


def _batches(examples: Examples, recipe: DenseRecipe) -> list[Examples]:
    """Nearly equal batches of at most ``batch_size``, none of a single example: batch norm needs two.

    With ``drop_last`` all have ``batch_size`` examples, and the rest of the epoch's are left out.
    """
    if not len(examples):
        raise UserError("there is no training image: give a larger --fractions, or check the training split")
    if len(examples) == 1:
        examples = np.repeat(examples, 2, axis=0)
    size = max(2, recipe.batch_size)
    if recipe.drop_last and len(examples) >= size:
        return np.array_split(examples[: len(examples) // size * size], len(examples) // size)
    return np.array_split(examples, math.ceil(len(examples) / size))


def _stream(draw: Callable[[int], Examples], recipe: DenseRecipe) -> Iterator[Examples]:
    """Batch after batch, epoch after epoch."""
    for epoch in count():
        yield from _batches(draw(epoch), recipe)
