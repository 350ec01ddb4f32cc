"""What any training by gradient descent is told: optimizer, schedule, selection, augmentation, label fraction."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrbench.errors import UserError, check_choices
from cxrbench.tasks.fractions import label_fraction

FractionDraw = Literal["patients", "images", "images-with-positives", "stratified", "images-stratified"]
DRAWS = 1000  # of a fraction that must hold a positive of each label, before giving up


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """The settings of ``presets.TRAINING``, with neutral defaults.

    ``learning_rate_images``: the learning rate is for batches of so many (0: of whatever size). ``warmup_start``: share
    of the learning rate at the start of the warm-up. ``decay_all``: biases, norms and tokens are decayed, too.
    ``select``: by what the epoch is chosen whose weights are kept; ``last``: it is the last one.
    """

    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate_images: int = 0
    momentum: float = 0.9
    batch_size: int = 256
    drop_last: bool = False
    weight_decay: float = 0.0
    decay_all: bool = False
    epochs: int = 100
    warmup_epochs: int = 0
    warmup_start: float = 0.0
    schedule: Literal["cosine", "constant"] = "cosine"
    step_per: Literal["batch", "epoch"] = "batch"
    min_learning_rate: float = 0.0
    patience: int | None = None
    select: str = "val_loss"
    select_every: int = 1
    augmentation: tuple[Mapping[str, Any], ...] = ()
    fraction_draw: FractionDraw = "patients"
    fraction_seed: int = 0

    def __post_init__(self) -> None:
        check_choices(self)

    @property
    def looks(self) -> int:
        """After how many of its epochs validation is looked at: the last one, and those before it that may be kept."""
        return 1 if self.select == "last" else math.ceil(self.epochs / self.select_every)


def training_rows(
    recipe: TrainingRecipe, rows: NDArray[np.int64], patients: NDArray[np.str_], targets: NDArray[np.float32],
    fraction: float, seed: int,
) -> NDArray[np.int64]:  # fmt: skip
    """The training rows of a label fraction, sorted: whole patients (ours), or single images as papers draw them.

    ``patients`` and ``targets`` are of the whole manifest. ``images``: pandas' ``sample(frac,
    random_state=fraction_seed + seed)``, as MGCA. ``images-with-positives``: the same, with the next random state until
    every label that has a positive has one in the sample, as PaCX-MAE's code. ``stratified``, ``images-stratified``:
    whole patients, or single images, in an order of which every prefix has the labels' combinations in their
    proportions, from ``fraction_seed + seed``, as PaCX-MAE's paper.
    """
    if fraction == 1:
        return rows
    if recipe.fraction_draw == "patients":
        return rows[label_fraction(patients[rows], targets[rows], fraction, seed)]
    if recipe.fraction_draw in ("stratified", "images-stratified"):
        units = patients[rows] if recipe.fraction_draw == "stratified" else np.char.mod("%d", rows)
        state = recipe.fraction_seed + seed
        return rows[label_fraction(units, targets[rows], fraction, state, stratified=True)]
    wanted = (targets[rows] == 1).any(0) & (recipe.fraction_draw == "images-with-positives")
    for attempt in range(DRAWS):
        state = recipe.fraction_seed + seed + attempt
        drawn = np.sort(pd.Series(rows).sample(frac=fraction, random_state=state).to_numpy(np.int64))
        if len(drawn) and ((targets[drawn] == 1).any(0) | ~wanted).all():
            return drawn
    raise UserError(f"no draw of {fraction:.3g} of {len(rows)} images has a positive of every label: raise --fractions")
