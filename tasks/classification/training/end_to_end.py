"""A whole encoder trained with a linear head on its pooled features."""

from collections.abc import Iterator

import numpy as np
import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn

from cxrbench.data.manifest import Manifest, Rows
from cxrbench.errors import UserError
from cxrbench.features.device import autocast
from cxrbench.features.extract import codes_of
from cxrbench.task import FrozenEncoder
from cxrbench.tasks.blank_image import features_of_blank
from cxrbench.tasks.classification.problem import Problem
from cxrbench.tasks.classification.trained import Trained
from cxrbench.tasks.classification.training.batches import ImageBatches
from cxrbench.tasks.classification.training.layer_decay import layer_decay_groups
from cxrbench.tasks.classification.training.loop import (
    Selected,
    WithHead,
    best_rate,
    epoch_batches,
    fit,
    linear_head,
    own_copy,
)
from cxrbench.tasks.classification.views import Logits


def train_whole(encoder: FrozenEncoder, manifest: Manifest, problem: Problem) -> Trained:
    """Logits of the validation and test rows, by the best epoch on validation. The encoder itself stays as it is."""
    recipe, options = problem.recipe, encoder.context.options
    source = encoder.module
    inputs = ImageBatches(manifest, source.preprocess, options, recipe.augmentation, recipe.frame)
    width = features_of_blank(source, source.preprocess).pooled.shape[1]  # type: ignore[arg-type]
    notes: list[str] = []
    codes = codes_of(source, manifest.images["view"].tolist())

    def beside(rows: Rows) -> tuple[Tensor, ...]:
        return () if codes is None else (codes[torch.from_numpy(rows)],)

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
            for at, images in inputs.batches(parts, problem.seed):
                told = (each.to(options.device) for each in beside(at))
                logits.append(model(images.to(options.device), *told).float().cpu())
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
            beside=beside,
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
    if best.logits is not None:
        return Trained(best.logits, best.facts, tuple(notes))
    model = fresh()
    model.load_state_dict(dict(best.state))
    return Trained(predict(model, np.concatenate([problem.val, problem.test])), best.facts, tuple(notes))


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
