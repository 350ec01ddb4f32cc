"""How a classifier is trained: optimizer, schedule, selection, as a default or a paper has it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrbench.errors import UserError
from cxrbench.task import Views, check_choices
from cxrbench.tasks.classification.views import Fusion
from cxrbench.tasks.fractions import label_fraction
from cxrbench.tasks.presets.recipes import honour

FractionDraw = Literal["patients", "images", "images-with-positives", "stratified", "images-stratified"]
DRAWS = 1000  # of a fraction that must hold a positive of each label, before giving up


@dataclass(frozen=True)
class ClassifierRecipe:
    """The settings of ``presets.KEYS`` for classifiers, with neutral defaults.

    ``learning_rates``: tried one after the other, the best on validation kept; each is for batches of
    ``learning_rate_images`` (0: of whatever size). ``standardize``: embeddings to zero mean and unit variance first
    (linear heads on cached embeddings only). ``warmup_start``: share of the learning rate at the start of the warm-up.
    ``views``: how many of a study's views are fused (None: images are predicted), and ``fusion``: how.
    """

    learning_rates: tuple[float, ...]
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate_images: int = 0
    momentum: float = 0.9
    batch_size: int = 256
    batch_of: Literal["images", "studies"] = "images"
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
    select: Literal["val_loss", "val_auroc", "last"] = "val_loss"
    select_every: int = 1
    augmentation: tuple[Mapping[str, Any], ...] = ()
    frame: Mapping[str, Any] | None = None
    head_init_std: float | None = None
    max_views: int | None = None
    fraction_draw: FractionDraw = "patients"
    fraction_seed: int = 0
    layer_decay: float = 1.0
    drop_path: float = 0.0
    standardize: bool = False
    views: Views | None = None
    fusion: Fusion = "logits"

    def __post_init__(self) -> None:
        check_choices(self)


def recipe_of(settings: Mapping[str, Any], who: str) -> ClassifierRecipe:
    """The recipe that a preset's section describes. Raises UserError for a setting that training cannot honour."""
    known = {field.name for field in fields(ClassifierRecipe)}
    given = {key: value for key, value in settings.items() if key != "note"}
    given["learning_rates"] = (float(given.pop("learning_rate")),)
    if "augmentation" in given:
        given["augmentation"] = tuple(given["augmentation"])
    honour(given, known, who)
    return ClassifierRecipe(**given)


def training_rows(
    recipe: ClassifierRecipe, rows: NDArray[np.int64], patients: NDArray[np.str_], targets: NDArray[np.float32],
    fraction: float, seed: int,
) -> NDArray[np.int64]:  # fmt: skip
    """The training rows of a label fraction, sorted: whole patients (ours), or single images as papers draw them.

    ``images``: pandas' ``sample(frac, random_state=fraction_seed + seed)``, as MGCA. ``images-with-positives``: the
    same, with the next random state until every label that has a positive has one in the sample, as PaCX-MAE's code.
    ``stratified``, ``images-stratified``: whole patients, or single images, in an order of which every prefix has the
    labels' combinations in their proportions, from ``fraction_seed + seed``, as PaCX-MAE's paper.
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
