"""The training loop of what sits on an encoder's maps: AdamW, warm-up and cosine, early stopping, best weights kept."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
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

Examples = NDArray[np.int64]


@dataclass(frozen=True)
class DenseRecipe:
    """How long and how fast.

    The number of optimizer steps is ``epochs`` epochs of ``batch`` examples, or ``min_steps`` where the data are few.
    They are cut into ``epochs`` rounds, each followed by a validation; after ``patience`` rounds without a lower
    validation loss training ends. ``rate``: AdamW's peak learning rate, reached after a share ``warmup`` of the steps,
    then down to 0 along a cosine; ``decay``: its weight decay. Gradients are cut at norm ``clip``.
    """

    epochs: int
    min_steps: int
    batch: int
    rate: float
    decay: float = 1e-4
    warmup: float = 0.05
    patience: int = 3
    clip: float = 1.0

    def of_epochs(self, epochs: int | None) -> "DenseRecipe":
        """The same with exactly so many epochs at most, and a patience of a third of them; None: unchanged."""
        if epochs is None:
            return self
        return replace(self, epochs=epochs, min_steps=0, patience=max(self.patience, epochs // 3))


@dataclass(frozen=True)
class Fitted:
    """``losses``: validation loss after each round; ``best``: the round (from 0) whose weights were kept."""

    losses: tuple[float, ...]
    best: int
    steps: int


def train_model(
    model: nn.Module,
    draw: Callable[[int], Examples],
    loss: Callable[[Examples], Tensor],
    validate: Callable[[], float],
    recipe: DenseRecipe,
    context: RunContext,
    *,
    what: str,
    groups: Sequence[dict[str, Any]] | None = None,
) -> Fitted:
    """Train ``model`` in place and leave it in eval mode with the weights of the lowest validation loss.

    ``draw(epoch)``: the examples [n, ...] of an epoch, in order; ``loss(examples)``: the mean loss of a batch of them;
    ``validate()``: the validation loss. Both run the model under autocast, ``validate`` without gradients. ``groups``:
    parameter groups with ``lr`` relative to ``rate`` [default: all parameters that want gradients, 1]. Raises UserError
    when the loss is no longer finite.
    """
    options = context.options
    groups = groups or [{"params": [p for p in model.parameters() if p.requires_grad], "lr": 1.0}]
    optimizer = torch.optim.AdamW(
        [{**g, "lr": g["lr"] * recipe.rate} for g in groups], lr=recipe.rate, weight_decay=recipe.decay
    )
    steps = max(recipe.min_steps, recipe.epochs * len(_batches(draw(0), recipe.batch)))
    ends = {math.ceil(steps * (i + 1) / recipe.epochs) for i in range(recipe.epochs)}
    rising = max(1, round(recipe.warmup * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(step, steps, rising))
    losses: list[float] = []
    best: tuple[int, dict[str, Tensor]] = (0, {})
    model.train()
    step = 0
    for step, examples in zip(range(1, steps + 1), _stream(draw, recipe.batch), strict=False):
        optimizer.zero_grad(set_to_none=True)
        with autocast(options.device, options.precision):
            value = loss(examples)
        if not math.isfinite(value.item()):
            raise UserError(f"{what}: the training loss became {value.item()} at step {step}; try --precision fp32")
        value.backward()
        nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], recipe.clip)
        optimizer.step()
        schedule.step()
        context.progress.train(what, step, steps)
        if step not in ends:
            continue
        model.eval()
        with torch.inference_mode(), autocast(options.device, options.precision):
            losses.append(float(validate()))
        model.train()
        if not losses[:-1] or losses[-1] < min(losses[:-1]):
            best = (len(losses) - 1, copy.deepcopy(model.state_dict()))
        if len(losses) - 1 - best[0] >= recipe.patience:
            break
    model.load_state_dict(best[1])
    model.eval()
    return Fitted(tuple(losses), best[0], step)


def balanced_epoch(train: NDArray[np.int64], shown: NDArray[np.bool_], epoch: int, copy: int, seed: int) -> Examples:
    """(row, copy) of an epoch: every image that shows something, as many that do not, in random order."""
    rng = np.random.default_rng([seed, epoch])
    some, none = train[shown], train[~shown]
    if len(some):
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


def _batches(examples: Examples, batch: int) -> list[Examples]:
    """Nearly equal batches of at most ``batch``, none of a single example: batch norm needs two."""
    if not len(examples):
        raise UserError("there is no training image: give a larger --fractions, or check the training split")
    if len(examples) == 1:
        examples = np.repeat(examples, 2, axis=0)
    return np.array_split(examples, math.ceil(len(examples) / max(2, batch)))


def _stream(draw: Callable[[int], Examples], batch: int) -> Iterator[Examples]:
    """Batch after batch, epoch after epoch."""
    for epoch in count():
        yield from _batches(draw(epoch), batch)
