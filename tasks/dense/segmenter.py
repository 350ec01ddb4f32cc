"""Training a decoder and outlining what it finds."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco
from torch import Tensor

from cxrbench.data.annotations.masks import TrueMasks
from cxrbench.data.decode.images import image_size
from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Preprocess
from cxrbench.errors import UserError
from cxrbench.features.augmentation import SEED
from cxrbench.features.device import autocast
from cxrbench.features.maps.dense import Geometry
from cxrbench.predictions import Predictions
from cxrbench.task import Cell, FrozenEncoder, RunContext, predictions_of
from cxrbench.tasks.dense.decoders.decoder import Decoder
from cxrbench.tasks.dense.decoders.named import build_decoder, levels_read
from cxrbench.tasks.dense.dense_task import DenseTask
from cxrbench.tasks.dense.losses import PixelLoss, dice_of_masks, pixel_loss
from cxrbench.tasks.dense.mask_targets import MaskTargets
from cxrbench.tasks.dense.model import DenseModel, finetuned, on_frozen_maps
from cxrbench.tasks.dense.moves import Draw, our_draw, paper_draw
from cxrbench.tasks.dense.recipe import SegmentationRecipe
from cxrbench.tasks.dense.training import Examples, epoch_of, seeded, train_model
from cxrbench.tasks.training.recipe import training_rows

THRESHOLD = 0.5
EVALUATION_BATCH = 32

Size = tuple[int, int]


def segment(
    protocol: DenseTask, recipe: SegmentationRecipe, encoder: FrozenEncoder, manifest: Manifest, cell: Cell
) -> Predictions:
    """Train on the train split, stop by the validation split, predict validation and test.

    Raises UserError where the training or the validation split has no mask.
    """
    truth, context = TrueMasks.of(manifest), encoder.context
    ids = [str(name) for name in manifest.images["image_id"]]
    train, val = (_known(manifest.rows_of(split), ids, truth) for split in ("train", "val"))
    if not len(train) or not len(val):
        raise UserError(f"{manifest.name} has no mask in its {'validation' if len(train) else 'training'} split")
    present = np.zeros((len(manifest), len(truth.labels)), np.float32)
    present[train] = np.stack([truth.present(ids[row]) for row in train])
    patients = manifest.images["patient_id"].to_numpy(str)
    train = training_rows(recipe, train, patients, present, cell.fraction, cell.seed)
    shown = (present[train] == 1).any(1)
    draw = _draw(protocol, recipe, cell)
    model = _model(protocol, recipe, encoder, manifest, len(truth.labels) + truth.exclusive, cell, draw)
    decoder: Any = model.head
    sizes = _sizes(manifest, context)
    anew = protocol.finetune or (protocol.preset is not None and bool(recipe.augmentation))
    targets = MaskTargets(truth, ids, sizes, model.preprocess, decoder.side, draw=draw, keep=not anew)
    losses = pixel_loss(recipe.loss, exclusive=truth.exclusive), dice_of_masks(exclusive=truth.exclusive)
    trainer = _SegmentationTrainer(model, targets, *losses, context)
    with seeded(cell.seed, context.options.device):
        fitted = train_model(
            model.module,
            lambda epoch: epoch_of(recipe, train, shown, epoch, protocol.copy_in(epoch, recipe), cell.seed),
            trainer.loss,
            lambda: trainer.measured(val),
            protocol.shortened(recipe),
            context,
            what=f"{cell.encoder} on {cell.task}",
            select=recipe.select,
            groups=model.groups(recipe),
        )
        held_out = np.concatenate([manifest.rows_of("val"), manifest.rows_of("test")])
        rles = _predict(trainer, held_out, sizes, model.preprocess, exclusive=truth.exclusive)
    columns = {"height": [sizes[row][0] for row in held_out], "width": [sizes[row][1] for row in held_out]}
    masks = {f"rle:{label}": [of_image[i] for of_image in rles] for i, label in enumerate(truth.labels)}
    named = {name: labels for name, labels in manifest.groups.items() if set(labels) <= set(truth.labels)}
    return predictions_of(
        cell, encoder, manifest, manifest.images.iloc[held_out], {**columns, **masks}, labels=truth.labels,
        kind="segmentation", groups={**named, "macro": truth.labels},
        facts={"train_images": len(train), **fitted.facts(), **model.facts(recipe.decoder)},
        notes=protocol.told(manifest.name, cell.fraction),
    )  # fmt: skip


def _draw(protocol: DenseTask, recipe: SegmentationRecipe, cell: Cell) -> Draw:
    """How copies of images are moved: as the paper says, or as we do; cells that share cached copies share the draw."""
    if protocol.preset is not None:
        return paper_draw(recipe.augmentation, cell.seed)
    return our_draw(cell.seed if protocol.finetune else SEED)


def _model(
    protocol: DenseTask, recipe: SegmentationRecipe, encoder: FrozenEncoder, manifest: Manifest, classes: int,
    cell: Cell, draw: Draw,
) -> DenseModel:  # fmt: skip
    """The decoder, on frozen maps or with the encoder; its weights depend on the seed alone."""

    def head(widths: Sequence[int], sides: Sequence[int], size: int) -> Decoder:
        with seeded(cell.seed, encoder.context.options.device):  # whether or not the encoder had to run before
            return build_decoder(recipe.decoder, widths, sides, classes, size)

    levels = levels_read(recipe.decoder)
    if protocol.finetune:
        return finetuned(encoder, manifest, head, levels, draw)
    moved = draw if protocol.preset is not None and recipe.augmentation else None
    return on_frozen_maps(encoder, manifest, protocol.copies, head, levels, moved)


@dataclass(frozen=True)
class _SegmentationTrainer:
    """The model with its inputs, targets and loss, on batches of manifest rows."""

    model: DenseModel
    targets: MaskTargets
    pixel_loss: PixelLoss
    dice: PixelLoss
    context: RunContext

    def logits(self, rows: NDArray[np.int64], copy: int = 0) -> Tensor:
        """Logits [len(rows), C, h, w]."""
        return self.model(rows, copy, self.context.options.device)

    def loss(self, examples: Examples) -> Tensor:
        """Loss of a batch of (row, copy), which all have the same copy number."""
        rows, copy = examples[:, 0], int(examples[0, 1])
        return self.pixel_loss(self.logits(rows, copy), self.targets(rows, copy).to(self.context.options.device))

    def measured(self, rows: NDArray[np.int64]) -> Mapping[str, float]:
        """Loss of a whole split, and Dice of its masks."""
        sums: list[list[Tensor]] = [[], []]
        for batch in (rows[i : i + EVALUATION_BATCH] for i in range(0, len(rows), EVALUATION_BATCH)):
            logits, targets = self.logits(batch), self.targets(batch).to(self.context.options.device)
            for found, measure in zip(sums, (self.pixel_loss, self.dice), strict=True):
                found.append(measure.sums(logits, targets).double())
        loss, dice = (torch.stack(found).sum(0) for found in sums)
        return {"val_loss": self.pixel_loss.of(loss).item(), "val_dice": self.dice.of(dice).item()}


def _known(rows: NDArray[np.int64], ids: Sequence[str], truth: TrueMasks) -> NDArray[np.int64]:
    """The rows of images of which at least one mask is known."""
    return rows[[bool(truth.known(ids[int(row)]).any()) for row in rows]]


def _sizes(manifest: Manifest, context: RunContext) -> list[Size]:
    """Height and width of every image, from the files' headers."""
    with ThreadPoolExecutor(max(1, context.options.workers)) as pool:
        return list(pool.map(image_size, manifest.paths()))


def _predict(
    trainer: _SegmentationTrainer,
    rows: NDArray[np.int64],
    sizes: Sequence[Size],
    preprocess: Preprocess,
    *,
    exclusive: bool,
) -> list[list[str]]:
    """COCO's compressed RLE of each label's mask, for each row, at the image's own size."""
    options = trainer.context.options
    found: list[list[str]] = []
    for first in range(0, len(rows), EVALUATION_BATCH):
        batch = rows[first : first + EVALUATION_BATCH]
        with torch.inference_mode(), autocast(options.device, options.precision):
            logits = trainer.logits(batch).float().cpu()
        scores = logits.softmax(1) if exclusive else logits.sigmoid()
        for row, score in zip(batch, scores, strict=True):
            geometry = Geometry.of(preprocess, *sizes[row])
            found.append(_outlines(score, geometry, exclusive=exclusive))
    return found


def _outlines(scores: Tensor, geometry: Geometry, *, exclusive: bool) -> list[str]:
    """RLE of each label from scores [C, h, w]: the most probable class of a pixel, or probability >= 1/2."""
    if exclusive:
        winner = geometry.scores_to_native(scores).argmax(0)
        return [_rle((winner == label).numpy()) for label in range(1, len(scores))]
    # interpolation does not go above what it interpolates, so a label below the threshold everywhere stays so
    masks = np.zeros((len(scores), geometry.height, geometry.width), bool)
    hopeful = np.flatnonzero((scores.amax((1, 2)) >= THRESHOLD).numpy())
    if len(hopeful):
        masks[hopeful] = (geometry.scores_to_native(scores[hopeful]) >= THRESHOLD).numpy()
    return [_rle(mask) for mask in masks]


def _rle(mask: NDArray[np.bool_]) -> str:
    """COCO's compressed RLE of a mask [H, W]."""
    encoded: Any = coco.encode(np.asfortranarray(mask, np.uint8))
    return encoded["counts"].decode()
