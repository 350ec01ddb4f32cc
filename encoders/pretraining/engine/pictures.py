"""Pictures of training, every few epochs: reconstructions, attention, whatever the objective draws."""

from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cxrbench.encoders.pretraining.corpus import whole
from cxrbench.encoders.pretraining.engine.trainer import Pretraining, as_batch
from cxrbench.encoders.pretraining.engine.watching.evaluating import evaluating
from cxrbench.files.atomic import atomic_path

SHOWN = 8  # units in a picture


class Pictures(lightning.Callback):
    """``epoch-N.png`` in ``folder`` every ``every`` epochs (0: none), of the same units with the same masks."""

    def __init__(self, folder: Path, every: int) -> None:
        self.folder, self.every = folder, every

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Draw when an epoch of the plan is over."""
        assert isinstance(pl_module, Pretraining)
        epoch, rest = divmod(int(batch[1]) + 1, pl_module.plan.batches_per_epoch)
        if not self.every or rest or epoch % self.every or not trainer.is_global_zero:
            return
        with pl_module.pause():
            image = drawn(pl_module)
        if image is not None:
            with atomic_path(self.folder / f"epoch-{epoch:04d}.png") as temporary:
                Image.fromarray(image).save(temporary, "PNG")


def drawn(module: Pretraining) -> Any:
    """The objective's picture as uint8 [H, W] or [H, W, 3], or None. Training goes on as if it had not been drawn."""
    corpus, objective = module.corpus, module.objective
    units = np.arange(min(SHOWN, len(corpus)))
    read = whole(corpus.batch(units, [np.random.default_rng(int(unit)) for unit in units]), objective.preprocess)
    batch = as_batch({name: tensor.to(module.device) for name, tensor in read.items()}, objective.preprocess)
    with evaluating(objective):
        draw = module.draw(0)
        picture = objective.picture(batch, type(draw)(draw.generator))
    return None if picture is None else as_pixels(picture)


def as_pixels(picture: Tensor) -> Any:
    """[H, W] or [3, H, W] in [0, 1] to uint8 [H, W] or [H, W, 3]."""
    scaled = (picture.detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    return scaled.permute(1, 2, 0).contiguous().numpy() if scaled.ndim == 3 else scaled.numpy()
