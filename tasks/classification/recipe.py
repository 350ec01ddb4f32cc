"""How a classifier is trained: optimizer, schedule, selection, as a default or a paper has it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from cxrbench.task import Views
from cxrbench.tasks.classification.views import Fusion
from cxrbench.tasks.presets.recipes import honour
from cxrbench.tasks.training.recipe import TrainingRecipe


@dataclass(frozen=True)
class ClassifierRecipe(TrainingRecipe):
    """The settings of ``presets.KEYS`` for classifiers, with neutral defaults.

    ``learning_rates``: tried one after the other, the best on validation kept; each is for batches of
    ``learning_rate_images`` (0: of whatever size). ``standardize``: embeddings to zero mean and unit variance first
    (linear heads on cached embeddings only). ``views``: how many of a study's views are fused (None: images are
    predicted), and ``fusion``: how.
    """

    learning_rates: tuple[float, ...]
    batch_of: Literal["images", "studies"] = "images"
    select: Literal["val_loss", "val_auroc", "per-label", "last"] = field(default="val_loss", kw_only=True)
    frame: Mapping[str, Any] | None = None
    head_init_std: float | None = None
    max_views: int | None = None
    layer_decay: float = 1.0
    drop_path: float = 0.0
    standardize: bool = False
    views: Views | None = None
    fusion: Fusion = "logits"

    @property
    def images(self) -> Literal["once", "flipped", "anew"]:
        """As what a frozen encoder meets training images: each once, once more if it is flipped, or anew per epoch."""
        if self.frame is None and all(set(step) == {"flip"} for step in self.augmentation):
            return "flipped" if self.augmentation else "once"
        return "anew"


def recipe_of(settings: Mapping[str, Any], who: str) -> ClassifierRecipe:
    """The recipe that a preset's section describes. Raises UserError for a setting that training cannot honour."""
    known = {entry.name for entry in fields(ClassifierRecipe)}
    given = {key: value for key, value in settings.items() if key != "note"}
    given["learning_rates"] = (float(given.pop("learning_rate")),)
    if "augmentation" in given:
        given["augmentation"] = tuple(given["augmentation"])
    honour(given, known, who)
    return ClassifierRecipe(**given)
