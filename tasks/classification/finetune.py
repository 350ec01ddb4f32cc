"""The ``finetune`` protocol: the encoder is trained end to end with a linear head on its pooled features."""

from dataclasses import dataclass

from cxrbench.data.manifest import Manifest
from cxrbench.passes import BOTH_WAYS
from cxrbench.task import Asked, FrozenEncoder
from cxrbench.tasks.classification.problem import Problem
from cxrbench.tasks.classification.recipe import ClassifierRecipe
from cxrbench.tasks.classification.trained import Trained, TrainedClassifier

# MAE's fine-tuning of ViT-B (He et al. 2022, table 9), shorter, milder, without mixing images; no flips.
RECIPE = ClassifierRecipe(
    learning_rates=(5e-4,),
    learning_rate_images=256,
    batch_size=64,
    weight_decay=0.05,
    epochs=30,
    warmup_epochs=3,
    layer_decay=0.75,
    drop_path=0.1,
    augmentation=({"mild": True},),
    patience=8,
    select="val_loss",
)


@dataclass(frozen=True, kw_only=True)
class FineTune(TrainedClassifier):
    """End-to-end training of a copy of the encoder; the caller's module is not touched."""

    name: str = "finetune"
    section: str = "finetune"
    summary: str = "end-to-end fine-tuning: AdamW, layer-wise learning-rate decay, drop path (takes long)"
    recipe: ClassifierRecipe = RECIPE

    @property
    def asks(self) -> frozenset[Asked] | None:
        """The encoder itself."""
        return frozenset({"network"})

    def met(self, recipe: ClassifierRecipe, train: float, val: int, test: int) -> float:
        """Forward and back in each epoch, and forward over what it selects by; in the end over what it predicts."""
        each = recipe.epochs * BOTH_WAYS * train + recipe.looks * val
        return len(recipe.learning_rates) * each + val + test

    def train(self, encoder: FrozenEncoder, manifest: Manifest, problem: Problem) -> Trained:
        """Logits of the validation and test rows, by the best epoch on validation."""
        from cxrbench.tasks.classification.training.end_to_end import train_whole

        return train_whole(encoder, manifest, problem)


TASK = FineTune()
