"""The linear probe: a model per strength of regularisation, and for each label the one that suits validation best."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from cxrbench.tasks.classification.logistic import fit_sigmoid, fit_softmax
from cxrbench.tasks.classification.problem import one_class_only, untrained

Floats = NDArray[np.float32]


class ChosenProbe(NamedTuple):
    """``logits`` [val + test, L]; ``weights`` [L, D] and ``intercepts`` [L] on the standardized features; notes.

    Of each label at the strength that was chosen for it; NaN for a label that was not trained.
    """

    logits: NDArray[np.float64]
    weights: NDArray[np.float64]
    intercepts: NDArray[np.float64]
    notes: tuple[str, ...]


def independent(
    train: Floats,
    held_out: Floats,
    y_train: Floats,
    y_val: Floats,
    labels: tuple[str, ...],
    strengths: Sequence[float],
) -> ChosenProbe:
    """Of independent labels.

    train, held_out (validation, then test): standardized features [n, D]; y_train, y_val: targets [n, L], NaN where
    unknown; strengths: scikit-learn's C. A label with one class only in training gets NaN and a note.
    """
    logits = np.full((len(held_out), len(labels)), np.nan)
    weights, intercepts = np.full((len(labels), train.shape[1]), np.nan), np.full(len(labels), np.nan)
    idle = one_class_only(y_train)
    usable, notes = np.flatnonzero(~idle), untrained(labels, idle)
    if not len(usable):
        return ChosenProbe(logits, weights, intercepts, notes)
    model = fit_sigmoid(torch.from_numpy(train), torch.from_numpy(y_train[:, usable]), torch.tensor(strengths))
    margins = model.margins(torch.from_numpy(held_out)).reshape(len(held_out), len(strengths), len(usable)).double()
    y = torch.from_numpy(y_val[:, None, usable]).double().expand(-1, len(strengths), -1)
    loss = F.binary_cross_entropy_with_logits(margins[: len(y_val)], y.nan_to_num(0), reduction="none")
    loss = torch.where(y.isnan(), torch.nan, loss).nanmean(0)  # [S, L]
    best = loss.argmin(0)
    # A label that validation cannot judge takes the strength that suits the others.
    judged = torch.from_numpy(~one_class_only(y_val[:, usable]))
    common = loss[:, judged].mean(1).argmin() if bool(judged.any()) else torch.tensor(len(strengths) // 2)
    best = torch.where(judged, best, common)
    unjudged = [labels[usable[i]] for i in np.flatnonzero(~judged.numpy())]
    if unjudged:
        notes += (f"one class only among the validation images, so regularised as the others: {', '.join(unjudged)}",)
    of_label = (best, torch.arange(len(usable)))
    chosen = model.converged.reshape(len(strengths), len(usable))[of_label]
    notes += tuple(f"{labels[usable[i]]}: the probe did not converge" for i in np.flatnonzero(~chosen.numpy()))
    logits[:, usable] = margins[:, of_label[0], of_label[1]].numpy()
    weights[usable] = model.weights.reshape(len(strengths), len(usable), -1)[of_label].numpy()
    intercepts[usable] = model.intercepts.reshape(len(strengths), len(usable))[of_label].numpy()
    return ChosenProbe(logits, weights, intercepts, notes)


def exclusive(
    train: Floats,
    held_out: Floats,
    y_train: Floats,
    y_val: Floats,
    labels: tuple[str, ...],
    strengths: Sequence[float],
) -> ChosenProbe:
    """Of classes that exclude each other; arguments as of ``independent``."""
    del labels
    model = fit_softmax(torch.from_numpy(train), torch.from_numpy(y_train), torch.tensor(strengths))
    margins = model.margins(torch.from_numpy(held_out)).double()  # [n, S, K]
    truth = torch.from_numpy(y_val.argmax(1))
    loss = [F.cross_entropy(margins[: len(y_val), s], truth).item() for s in range(len(strengths))]
    best = int(np.argmin(loss))
    return ChosenProbe(
        margins[:, best].numpy(), model.weights[best].double().numpy(), model.intercepts[best].double().numpy(), ()
    )
