"""The training loop as papers' recipes want it: learning rates by epoch, the epoch that is kept, an epoch's images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from cxrbench.progress import Progress
from cxrbench.task import RunContext
from cxrbench.tasks.dense.recipe import DenseRecipe
from cxrbench.tasks.dense.training import Fitted, epoch_of, train_model
from support.dense_toy import OPTIONS


def trained(
    recipe: DenseRecipe, scores: Callable[[int], dict[str, float]], select: str = "val_loss"
) -> tuple[Any, ...]:
    """The fit, the weight after every step and that which was kept, of one weight whose gradient is 1; four images."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    seen: list[float] = [0.0]
    validated: list[int] = []

    def loss(examples: np.ndarray) -> torch.Tensor:
        seen.append(model.weight.item())
        return model.weight.sum()

    def validate() -> dict[str, float]:
        validated.append(len(seen) - 1)
        return scores(len(validated))

    fitted: Fitted = train_model(
        model, lambda epoch: np.arange(4)[:, None], loss, validate, recipe, RunContext(OPTIONS, Path(), Progress()),
        what="toy", select=select,
    )  # fmt: skip
    return fitted, np.array(seen[1:]), model.weight.item(), validated


def plain(**settings: Any) -> DenseRecipe:
    return DenseRecipe(learning_rate=1.0, optimizer="sgd", momentum=0.0, batch_size=2, **settings)


def test_learning_rates_by_epoch_are_torchs_linear_warm_up_and_cosine() -> None:
    """PaCX-MAE's: five epochs from a fifth, then half a cosine to 0, a step per epoch."""
    recipe = plain(epochs=20, warmup_epochs=5, warmup_start=0.2, step_per="epoch")
    _, weights, last, _ = trained(recipe, lambda n: {"val_loss": -float(n)})
    mine = -np.diff([*weights, last])
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    rising, falling = LinearLR(optimizer, 0.2, 1.0, 5), CosineAnnealingLR(optimizer, 15)
    schedule, theirs = SequentialLR(optimizer, [rising, falling], [5]), []
    for _ in range(20):
        theirs += [optimizer.param_groups[0]["lr"]] * 2
        optimizer.step()
        schedule.step()
    np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_a_constant_rate_for_larger_batches_is_scaled() -> None:
    recipe = plain(epochs=2, schedule="constant", learning_rate_images=8)
    _, weights, last, _ = trained(recipe, lambda n: {"val_loss": -float(n)})
    np.testing.assert_allclose(np.diff([*weights, last]), -0.25)


@pytest.mark.parametrize(
    ("select", "every", "kept", "validated"),
    [("val_loss", 1, 3, 6), ("val_dice", 1, 2, 6), ("last", 1, 6, 1), ("val_dice", 4, 4, 2), ("val_loss", 5, 6, 2)],
)
def test_the_epoch_that_is_kept(select: str, every: int, kept: int, validated: int) -> None:
    losses, dice = [5.0, 4, 1, 3, 2, 1.5], [0.1, 0.9, 0.5, 0.5, 0.3, 0.2]
    epochs = [e for e in range(1, 7) if e == 6 or (select != "last" and e % every == 0)]

    def scores(n: int) -> dict[str, float]:
        return {"val_loss": losses[epochs[n - 1] - 1], "val_dice": dice[epochs[n - 1] - 1]}

    fitted, _, last, at = trained(plain(epochs=6, schedule="constant", select_every=every), scores, select)
    assert (fitted.best + 1, len(at), fitted.steps) == (kept, validated, 12)
    assert fitted.chosen == {"epoch": kept, "val_loss": losses[kept - 1], "val_dice": dice[kept - 1]}
    assert last == pytest.approx(-2.0 * kept)


def test_patience_ends_a_training_and_nothing_else_does() -> None:
    fitted, *_ = trained(plain(epochs=30, patience=4), lambda n: {"val_loss": abs(n - 3.0)})
    assert (fitted.best, fitted.steps) == (2, 2 * 7)
    fitted, *_ = trained(plain(epochs=30), lambda n: {"val_loss": abs(n - 3.0)})
    assert (fitted.best, fitted.steps) == (2, 60)


def test_an_epoch_is_every_image_once_or_as_many_empty_ones_as_others() -> None:
    train, shown = np.arange(10, 30), np.arange(20) < 6
    whole = epoch_of(plain(), train, shown, 3, 7, 0)
    assert sorted(whole[:, 0]) == train.tolist()
    assert (whole[:, 1] == 7).all()
    assert not np.array_equal(whole, epoch_of(plain(), train, shown, 4, 7, 0))
    half = epoch_of(plain(sampling="balanced"), train, shown, 3, 0, 0)
    assert len(half) == 12
    assert set(half[:, 0]) >= set(range(10, 16))


def test_dropping_the_last_batch_leaves_whole_ones() -> None:
    fitted, *_ = trained(plain(epochs=1), lambda n: {"val_loss": 0.0})
    assert fitted.steps == 2
    recipe = DenseRecipe(learning_rate=1.0, batch_size=3, epochs=2)
    assert trained(recipe, lambda n: {"val_loss": 0.0})[0].steps == 4
    dropped = DenseRecipe(learning_rate=1.0, batch_size=3, epochs=2, drop_last=True)
    assert trained(dropped, lambda n: {"val_loss": 0.0})[0].steps == 2
