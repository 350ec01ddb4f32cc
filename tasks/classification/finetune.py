"""The ``finetune`` protocol: the encoder is trained end to end with a linear head on its pooled features."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Preprocess
from cxrbench.errors import UserError
from cxrbench.features.device import autocast
from cxrbench.plugins.loading import blame
from cxrbench.task import FrozenEncoder
from cxrbench.tasks.classification.batches import ImageBatches, Rows
from cxrbench.tasks.classification.layer_decay import layer_decay_groups
from cxrbench.tasks.classification.recipe import ClassifierRecipe
from cxrbench.tasks.classification.trained import Trained, TrainedClassifier
from cxrbench.tasks.classification.training import (
    Problem,
    Selected,
    WithHead,
    best_rate,
    epoch_batches,
    fit,
    linear_head,
    own_copy,
)
from cxrbench.tasks.classification.views import Logits

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


@dataclass(frozen=True)
class FineTune(TrainedClassifier):
    """End-to-end training of a copy of the encoder; the caller's module is not touched."""

    name: str = "finetune"
    section: str = "finetune"
    summary: str = "end-to-end fine-tuning: AdamW, layer-wise learning-rate decay, drop path (takes long)"
    recipe: ClassifierRecipe = RECIPE

    def train(self, encoder: FrozenEncoder, manifest: Manifest, problem: Problem) -> Trained:
        """Logits of the validation and test rows, by the best epoch on validation."""
        recipe, options = problem.recipe, encoder.context.options
        source = encoder.module
        inputs = ImageBatches(manifest, source.preprocess, options, recipe.augmentation, recipe.frame)
        width = pooled_width(source, source.preprocess)  # type: ignore[arg-type]
        notes: list[str] = []

        def fresh() -> WithHead:
            own = own_copy(source)  # type: ignore[arg-type]
            if recipe.drop_path and not set_drop_path(own, recipe.drop_path):
                notes[:] = ["This encoder has no residual blocks to drop, so drop path is not used."]
            return WithHead(own, linear_head(width, problem.targets.shape[1], recipe, problem.seed)).to(options.device)

        def predict(model: nn.Module, rows: Rows) -> Logits:
            model.eval()
            parts = [rows[at : at + options.batch_size] for at in range(0, len(rows), options.batch_size)]
            logits = []
            with torch.inference_mode(), autocast(options.device, options.precision):
                for _, images in inputs.batches(parts, problem.seed):
                    logits.append(model(images.to(options.device)).float().cpu())
            return torch.cat(logits).double().numpy()

        def batches(epoch: int) -> Iterator[tuple[Rows, Tensor]]:
            return inputs.batches(epoch_batches(problem, epoch), problem.seed, epoch)

        def train(rate: float) -> Selected | None:
            model = fresh()
            groups = layer_decay_groups(
                model.encoder, model.head, layer_decay=recipe.layer_decay, weight_decay=recipe.weight_decay,
                decay_all=recipe.decay_all,
            )  # fmt: skip
            return fit(
                model, model, groups, problem, rate, batches, lambda rows: predict(model, rows), device=options.device,
                precision=options.precision, told=lambda at, of: encoder.context.progress.train("fine-tuning", at, of),
            )  # fmt: skip

        try:
            with torch.random.fork_rng(devices=[]):  # dropout and drop path draw from the global generator
                torch.manual_seed(problem.seed)
                best = best_rate(recipe, train)
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"out of memory on {options.device} fine-tuning with batches of {recipe.batch_size}: "
                "use a smaller encoder or a larger device"
            ) from error
        model = fresh()
        model.load_state_dict(dict(best.state))
        return Trained(predict(model, np.concatenate([problem.val, problem.test])), best.facts, tuple(notes))


TASK = FineTune()


def pooled_width(module: nn.Module, preprocess: Preprocess) -> int:
    """The width D of the pooled features, from one blank image. Raises UserError if the encoder fails on it."""
    parameter = next(module.parameters(), torch.zeros(0))
    blank = torch.zeros(1, preprocess.channels, preprocess.size, preprocess.size, device=parameter.device)
    try:
        with torch.inference_mode():
            return int(module.eval()(blank).pooled.shape[1])
    except Exception as error:  # whatever a plugin's own code raises
        raise UserError(f"encoder {type(module).__name__} fails on a blank image: {blame(error)}") from error


def set_drop_path(module: nn.Module, rate: float) -> int:
    """Give residual blocks a drop path that rises linearly from 0 in the first to ``rate`` in the last block.

    Huang et al. (2016). Blocks are the modules with an attribute ``drop_path1`` (timm's transformers; both branches get
    the same rate) or ``drop_path``. Returns how many there are.
    """
    slots = ("drop_path", "drop_path1", "drop_path2")
    blocks = [m for m in module.modules() if any(isinstance(getattr(m, slot, None), nn.Module) for slot in slots)]
    for i, block in enumerate(blocks):
        share = rate * i / max(1, len(blocks) - 1)
        for slot in slots:
            if isinstance(getattr(block, slot, None), nn.Module):
                setattr(block, slot, DropPath(share) if share else nn.Identity())
    return len(blocks)
