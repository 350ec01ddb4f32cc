"""The training loop of linear heads and of whole networks: epochs, schedule, selection on validation."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from cxrbench.data.manifest import Rows
from cxrbench.errors import UserError
from cxrbench.features.device import Precision, autocast
from cxrbench.tasks.classification.problem import Problem
from cxrbench.tasks.classification.recipe import ClassifierRecipe
from cxrbench.tasks.classification.views import ClassifierKind, Logits, fuse, probabilities
from cxrbench.tasks.training.optimization import learning_rate, optimizer_of, peak_rate, set_rate


@dataclass(frozen=True)
class Selected:
    """The best epoch of one training run: weights, validation score (higher is better) and what is told of it.

    ``logits``: of the validation and test rows [val + test, L], where each label has an epoch of its own; the weights
    are then those of the last one.
    """

    state: Mapping[str, Tensor]
    score: float
    facts: Mapping[str, Any]
    logits: Logits | None = None


def epoch_batches(problem: Problem, epoch: int) -> list[Rows]:
    """The training rows of an epoch, shuffled: in batches of ``batch_size`` images, or of so many studies.

    Of a study with more than ``max_views`` images, so many are drawn anew in each epoch.
    """
    recipe, train = problem.recipe, problem.train
    rng = np.random.default_rng([problem.seed, epoch])
    if recipe.batch_of == "studies" and problem.studies is not None:
        names, inverse = np.unique(problem.studies[train], return_inverse=True)
        members = np.split(train[np.argsort(inverse, kind="stable")], np.cumsum(np.bincount(inverse))[:-1])
        most = recipe.max_views or max(map(len, members))
        units = [m if len(m) <= most else np.sort(rng.choice(m, most, replace=False)) for m in members]
        order = rng.permutation(len(names))
    else:
        units, order = [train[i : i + 1] for i in range(len(train))], rng.permutation(len(train))
    size = recipe.batch_size
    stop = len(order) // size * size if recipe.drop_last and len(order) >= size else len(order)
    return [np.concatenate([units[i] for i in order[at : at + size]]) for at in range(0, stop, size)]


def loss_of(logits: Tensor, targets: Tensor, kind: ClassifierKind) -> Tensor:
    """Mean binary cross-entropy over the known entries of [b, L], or mean cross-entropy of one-hot targets [b, K]."""
    if kind == "multiclass":
        return F.cross_entropy(logits, targets.argmax(1))
    known = ~targets.isnan()
    if not bool(known.any()):
        return 0.0 * logits.sum()
    return F.binary_cross_entropy_with_logits(logits[known], targets[known])


def validation(logits: Logits, problem: Problem) -> dict[str, float]:
    """``val_loss`` over images, and ``val_auroc``: the mean over the labels that have one; NaN if validation has no
    label with both classes.
    """
    targets = problem.targets[problem.val]
    loss = float(loss_of(torch.from_numpy(logits), torch.from_numpy(targets).double(), problem.kind))
    known = [value for value in label_aurocs(logits, problem) if value is not None]
    return {"val_loss": loss, "val_auroc": float(np.mean(known)) if known else float("nan")}


def label_aurocs(logits: Logits, problem: Problem) -> list[float | None]:
    """AUROC on validation of each label, of studies where they are what is predicted; None without both classes."""
    targets = problem.targets[problem.val]
    scores = probabilities(logits, problem.kind)
    if problem.studies is not None:
        studies = problem.studies[problem.val]
        names, scores = fuse(logits, studies.tolist(), problem.kind, problem.recipe.fusion)
        best = np.full((len(names), targets.shape[1]), -np.inf, np.float32)
        np.maximum.at(best, np.unique(studies, return_inverse=True)[1], np.where(np.isnan(targets), -np.inf, targets))
        targets = np.where(np.isinf(best), np.nan, best)
    return [_auroc(t[~np.isnan(t)], s[~np.isnan(t)]) for t, s in zip(targets.T, scores.T, strict=True)]


def _auroc(targets: NDArray[np.float32], scores: Logits) -> float | None:
    both = bool((targets == 0).any() and (targets == 1).any()) and bool(np.isfinite(scores).all())
    return float(roc_auc_score(targets, scores)) if both else None


def fit(
    model: nn.Module,
    keep: nn.Module,
    groups: Iterable[dict[str, Any]],
    problem: Problem,
    rate: float,
    batches: Callable[[int], Iterator[tuple[Rows, Tensor]]],
    predict: Callable[[Rows], Logits],
    *,
    device: torch.device,
    precision: Precision,
    told: Callable[[int, int], None],
    beside: Callable[[Rows], tuple[Tensor, ...]] = lambda rows: (),
) -> Selected | None:
    """Train ``model`` at one learning rate; None if it diverged.

    ``batches(epoch)`` gives rows and what the model takes; ``keep`` is the part whose weights are kept at the best
    epoch (``select``); ``predict`` gives the model's logits of rows. ``told(epoch, epochs)`` is called after each.
    ``beside(rows)``: what the model takes beside them.
    """
    recipe = problem.recipe
    optimizer = optimizer_of(recipe, groups)
    peak, steps = peak_rate(recipe, rate), len(epoch_batches(problem, 0))
    targets = torch.from_numpy(problem.targets).to(device)
    best: Selected | None = None
    for epoch in range(recipe.epochs):
        model.train()
        for step, (rows, inputs) in enumerate(batches(epoch)):
            set_rate(optimizer, learning_rate(recipe, peak, epoch + step / steps))
            with autocast(device, precision):
                logits = model(inputs.to(device), *(each.to(device) for each in beside(rows)))
            loss = loss_of(logits.float(), targets[torch.from_numpy(rows).to(device)], problem.kind)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        told(epoch + 1, recipe.epochs)
        last = epoch + 1 == recipe.epochs
        if not last and (recipe.select == "last" or (epoch + 1) % recipe.select_every):
            continue
        logits = predict(problem.val)
        if not np.isfinite(logits).all():
            return best
        facts = validation(logits, problem)
        if recipe.select == "per-label":
            state = {name: value.detach().cpu().clone() for name, value in keep.state_dict().items()}
            now = Selected(state, facts["val_auroc"], {**facts, "epoch": epoch + 1, "learning_rate": rate})
            best = label_by_label(best, now, logits, problem, predict)
            if recipe.patience is not None and epoch + 1 - max(best.facts["label_epochs"]) >= recipe.patience:
                break
            continue
        judged = "val_loss" if np.isnan(facts["val_auroc"]) else recipe.select
        score = {"val_loss": -facts["val_loss"], "val_auroc": facts["val_auroc"], "last": float(epoch)}[judged]
        if best is None or score > best.score:
            state = {name: value.detach().cpu().clone() for name, value in keep.state_dict().items()}
            best = Selected(state, score, {**facts, "epoch": epoch + 1, "learning_rate": rate})
        elif recipe.patience is not None and epoch + 1 - best.facts["epoch"] >= recipe.patience:
            break
    return best


def label_by_label(
    before: Selected | None, now: Selected, logits: Logits, problem: Problem, predict: Callable[[Rows], Logits]
) -> Selected:
    """The logits of labels that are better on validation now, and of the others as before: an epoch for each label.

    A label without both classes in validation takes the epoch that is best by the mean over the others. ``logits``: of
    the validation rows, now. ``facts``: the mean of the labels' best AUROCs, and the epoch of each label.
    """
    mean = now.facts["val_auroc"]
    scores = np.array([mean if value is None else value for value in label_aurocs(logits, problem)])
    scores = np.where(np.isnan(scores), -now.facts["val_loss"], scores)
    epochs = [now.facts["epoch"]] * len(scores)
    if before is None:
        best, whole = scores, np.concatenate([logits, predict(problem.test)])
    else:
        assert before.logits is not None
        best, whole = np.array(before.facts["label_scores"]), before.logits
        better = scores > best
        if not better.any():
            return before
        whole = np.where(better, np.concatenate([logits, predict(problem.test)]), whole)
        epochs = [new if is_better else old for new, old, is_better in
                  zip(epochs, before.facts["label_epochs"], better, strict=True)]  # fmt: skip
        best = np.where(better, scores, best)
    facts = {**now.facts, "label_epochs": epochs, "label_scores": [float(score) for score in best]}
    return replace(now, score=float(best.mean()), facts=facts, logits=whole)


def best_rate(recipe: ClassifierRecipe, train: Callable[[float], Selected | None]) -> Selected:
    """Train at each learning rate and keep the one best on validation (by loss, where the last epoch is kept).

    Raises UserError if every one diverged.
    """
    runs = [run for rate in recipe.learning_rates if (run := train(rate)) is not None]
    if not runs:
        rates = ", ".join(f"{rate:g}" for rate in recipe.learning_rates)
        raise UserError(f"training diverged at the learning rate {rates}: the encoder's features may be broken")
    return (
        runs[0]
        if len(runs) == 1
        else max(runs, key=lambda r: r.score if recipe.select != "last" else -r.facts["val_loss"])
    )


class WithHead(nn.Module):
    """An encoder with a linear head on its pooled features: images to logits [b, L]."""

    def __init__(self, encoder: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, images: Tensor, *views: Tensor) -> Tensor:
        """Images [b, channels, S, S], and codes of their views [b] if the encoder asks for them, to logits [b, L]."""
        return self.head(self.encoder(images, *views).pooled)


def linear_head(width: int, labels: int, recipe: ClassifierRecipe, seed: int) -> nn.Linear:
    """PyTorch's initial weights; or N(0, head_init_std²) cut at two standard deviations and zero biases."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Linear(width, labels)
        if recipe.head_init_std is not None:
            std = recipe.head_init_std
            nn.init.trunc_normal_(head.weight, std=std, a=-2 * std, b=2 * std)
            nn.init.zeros_(head.bias)
    return head


def own_copy(module: nn.Module) -> nn.Module:
    """A copy whose weights can be trained; the caller's module stays as it is."""
    own = copy.deepcopy(module)
    for parameter in own.parameters():
        if parameter.is_floating_point():
            parameter.requires_grad_(True)
    return own
