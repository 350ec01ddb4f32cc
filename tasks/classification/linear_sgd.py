"""The ``linear`` protocol: a linear layer on frozen features, trained by gradient descent as papers do it.

``classification`` is the convex probe, solved to its optimum; this one has an optimizer, epochs and learning rates, and
is what the presets of FaNe, PaCX-MAE and RadJEPA configure. It is opt-in: it answers the same question as the convex
probe, a little worse.
"""

from dataclasses import dataclass

from cxrbench.data.manifest import Manifest
from cxrbench.task import Asked, FrozenEncoder
from cxrbench.tasks.classification.problem import Problem
from cxrbench.tasks.classification.recipe import ClassifierRecipe
from cxrbench.tasks.classification.trained import Trained, TrainedClassifier

RECIPE = ClassifierRecipe(
    learning_rates=(0.01, 0.1, 1.0),
    optimizer="sgd",
    batch_size=256,
    epochs=50,
    select="val_loss",
    standardize=True,
)


@dataclass(frozen=True, kw_only=True)
class LinearSGD(TrainedClassifier):
    """A linear head on cached features; on features made anew in every epoch, where the recipe augments."""

    name: str = "linear"
    section: str = "linear"
    summary: str = "linear head trained by SGD on frozen embeddings, learning rate chosen on validation"
    recipe: ClassifierRecipe = RECIPE

    @property
    def asks(self) -> frozenset[Asked] | None:
        """Image embeddings, for a head; a paper's recipe may want features of augmented images instead."""
        return frozenset({"network"}) if self._recipe("", None).images == "anew" else frozenset({"pooled", "network"})

    def met(self, recipe: ClassifierRecipe, train: float, val: int, test: int) -> float:
        """None, where features are made once; those that are flipped; or those of every epoch, and all others once."""
        anew = len(recipe.learning_rates) * recipe.epochs * train + val + test
        return {"once": 0, "flipped": train, "anew": anew}[recipe.images]

    def train(self, encoder: FrozenEncoder, manifest: Manifest, problem: Problem) -> Trained:
        """Logits of the validation and test rows."""
        from cxrbench.tasks.classification.training.head_on_features import train_head

        return train_head(encoder, manifest, problem)


TASK = LinearSGD()
