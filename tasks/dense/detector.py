"""Training and asking a detection head."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from cxrbench.data.manifest import Manifest, Rows
from cxrbench.errors import UserError
from cxrbench.features.augmentation import SEED
from cxrbench.features.device import autocast
from cxrbench.features.maps.dense import Geometry
from cxrbench.predictions import Predictions
from cxrbench.task import Cell, FrozenEncoder, RunContext, predictions_of
from cxrbench.tasks.dense.anchors import anchors
from cxrbench.tasks.dense.box_targets import BoxTargets, BoxTruth, boxed_labels, geometry_of
from cxrbench.tasks.dense.dense_task import DenseTask
from cxrbench.tasks.dense.model import DenseModel, finetuned, on_frozen_maps
from cxrbench.tasks.dense.training import DenseRecipe, Examples, balanced_epoch, seeded, train_model
from cxrbench.tasks.dense.yolo import LEVELS, Grid, YoloHead, detections
from cxrbench.tasks.dense.yolo_loss import loss_of, loss_sums
from cxrbench.tasks.fractions import label_fraction

FROZEN = DenseRecipe(epochs=12, min_steps=240, batch=16, rate=3e-3)
FINETUNED = DenseRecipe(epochs=12, min_steps=240, batch=16, rate=1e-3)
EVALUATION_BATCH = 32


def detect(protocol: DenseTask, encoder: FrozenEncoder, manifest: Manifest, cell: Cell) -> Predictions:
    """Train on the train split, stop by the validation split, predict validation and test.

    Raises UserError where the training or the validation split has no box.
    """
    context = encoder.context
    train, val, test = (manifest.rows_of(split) for split in ("train", "val", "test"))
    labels = boxed_labels(manifest, train)
    truth = BoxTruth.of(manifest, labels)
    if not truth.present[val].any():
        raise UserError(f"{manifest.name} has no box in its validation split, which chooses the weights")
    present = truth.present[train]
    kept = label_fraction(manifest.images["patient_id"].to_numpy(str)[train], present, cell.fraction, cell.seed)
    train, shown = train[kept], np.asarray(present[kept].any(axis=1))
    held_out = np.concatenate([val, test])
    with seeded(cell.seed, context.options.device):
        model = _model(protocol, encoder, manifest, len(labels), cell)
        preprocess = model.preprocess
        geometry = geometry_of(manifest, truth, preprocess, np.union1d(train[shown], held_out), context)
        squares = {row: geometry[row].boxes_to_square(truth.boxes[row]) for row in truth.boxes if row in geometry}
        shapes = np.concatenate([squares[row][:, 2:] for row in train[shown]])
        grid = Grid(preprocess.size, anchors(shapes, np.random.default_rng(cell.seed)))
        targets = BoxTargets(squares, truth.classes, manifest.images["image_id"].to_numpy(str), grid, len(labels),
                             cell.seed if protocol.finetune else SEED)  # fmt: skip
        trainer = _DetectionTrainer(model, targets, context)
        recipe = FINETUNED if protocol.finetune else FROZEN
        fitted = train_model(
            model.module,
            lambda epoch: balanced_epoch(train, shown, epoch, protocol.copy_in(epoch), cell.seed),
            trainer.loss,
            lambda: trainer.loss_of(val),
            recipe.of_epochs(protocol.epochs),
            context,
            what=f"{cell.encoder} on {cell.task}",
            groups=model.groups,
        )
        found = trainer.predict(held_out, geometry)
    return predictions_of(
        cell, encoder, manifest, manifest.images.iloc[held_out], found, labels=labels, kind="detection",
        groups=_groups(manifest, labels),
        facts={"train_images": len(train), "steps": fitted.steps, "validation_losses": list(fitted.losses),
               "anchors": grid.anchors.tolist()},
    )  # fmt: skip


def _model(protocol: DenseTask, encoder: FrozenEncoder, manifest: Manifest, classes: int, cell: Cell) -> DenseModel:
    """The head, on frozen maps or with the encoder."""

    def head(widths: Sequence[int], sides: Sequence[int], size: int) -> nn.Module:
        return YoloHead(widths, sides, size, classes)

    if protocol.finetune:
        return finetuned(encoder, manifest, cell, head)
    return on_frozen_maps(encoder, manifest, protocol.copies, head, LEVELS)


@dataclass(frozen=True)
class _DetectionTrainer:
    """The model with its inputs and targets, on batches of manifest rows."""

    model: DenseModel
    targets: BoxTargets
    context: RunContext

    def raw(self, rows: Rows, copy: int = 0) -> Tensor:
        """The head's numbers [len(rows), N, 5 + K]."""
        return self.model(rows, copy, self.context.options.device)

    def sums(self, rows: Rows, copy: int = 0) -> Tensor:
        """The loss's sums over the boxes of some rows."""
        return loss_sums(self.raw(rows, copy), self.targets(rows, copy), self.targets.grid)

    def loss(self, examples: Examples) -> Tensor:
        """Loss of a batch of (row, copy), which all have the same copy number."""
        return loss_of(self.sums(examples[:, 0], int(examples[0, 1])))

    def loss_of(self, rows: Rows) -> float:
        """Loss of a whole split."""
        return loss_of(torch.stack([self.sums(batch).double() for batch in _batches(rows)]).sum(0)).item()

    def predict(self, rows: Rows, geometry: dict[int, Geometry]) -> pd.DataFrame:
        """``boxes``, ``scores``, ``classes`` of rows, in native pixels."""
        options, found = self.context.options, []
        for batch in _batches(rows):
            with torch.inference_mode(), autocast(options.device, options.precision):
                raw = self.raw(batch)
            for row, of_image in zip(batch, raw.float(), strict=True):
                corners, scores, classes = (x.cpu().numpy() for x in detections(of_image, self.targets.grid))
                boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1).astype(np.float64)
                native = geometry[int(row)].boxes_to_native(boxes)
                solid = (native[:, 2:] > 0).all(1)  # not those that lie in the padding
                found.append((native[solid].astype(np.float32).ravel(), scores[solid], classes[solid].astype(np.int32)))
        return pd.DataFrame(dict(zip(("boxes", "scores", "classes"), map(list, zip(*found, strict=True)), strict=True)))


def _groups(manifest: Manifest, labels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The manifest's groups without the labels that nobody boxes; ``all`` of them where the headline set is smaller."""
    groups = {name: tuple(n for n in members if n in labels) for name, members in manifest.groups.items()}
    groups = {name: members for name, members in groups.items() if members}
    return {"macro": tuple(labels), **groups} | ({"all": tuple(labels)} if "all" in groups else {})


def _batches(rows: Rows) -> list[Rows]:
    return [rows[i : i + EVALUATION_BATCH] for i in range(0, len(rows), EVALUATION_BATCH)]
