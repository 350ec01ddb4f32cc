"""Detection: YOLOv3's head on the maps of a frozen encoder (or of one that is trained with it) finds the boxes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from cxrbench.data.manifest import Manifest
from cxrbench.errors import UserError
from cxrbench.features.augmentation import SEED
from cxrbench.features.device import autocast
from cxrbench.features.maps.dense import Geometry
from cxrbench.predictions import Predictions, encoder_facts
from cxrbench.task import Cell, FrozenEncoder, RunContext, TaskOptions
from cxrbench.tasks.dense.anchors import anchors
from cxrbench.tasks.dense.box_targets import BoxTargets, BoxTruth, Rows, boxed_labels, geometry_of
from cxrbench.tasks.dense.model import DenseModel, finetuned, on_frozen_maps
from cxrbench.tasks.dense.training import DenseRecipe, Examples, balanced_epoch, fit, seeded
from cxrbench.tasks.dense.yolo import LEVELS, Grid, YoloHead, detections
from cxrbench.tasks.dense.yolo_loss import loss_of, loss_sums
from cxrbench.tasks.fractions import label_fraction

FROZEN = DenseRecipe(epochs=12, min_steps=240, batch=16, rate=3e-3)
FINETUNED = DenseRecipe(epochs=12, min_steps=240, batch=16, rate=1e-3)
EVALUATION_BATCH = 32


@dataclass(frozen=True)
class Detection:
    """The ``detection`` protocol.

    YOLOv3's head on three levels of the pyramid, its nine anchors learnt from the training boxes. An epoch is every
    image with a box and as many without, drawn anew. The encoder meets every image once, frozen; with ``copies`` epoch
    e trains on copy e mod (copies + 1). With ``finetune`` it is trained, too, on images augmented anew in every epoch.
    The validation loss chooses the weights. Labels are those of which a training image has a box.
    """

    finetune: bool = False
    copies: int = 0
    epochs: int | None = None
    preset: str | None = None
    version: str = "1"
    opt_in: bool = False
    sees_test_truth: bool = False
    summary: str = "YOLOv3 head on frozen maps, or fine-tuned: mAP .40-.75, mAP .50-.95, AP50"

    @property
    def protocol(self) -> str:
        """``detection``, and what is not its default."""
        parts = ["detection"] + ["finetune"] * self.finetune
        parts += [f"augment{self.copies}"] * (self.copies > 0) + [f"epochs{self.epochs}"] * (self.epochs is not None)
        return "+".join(parts)

    def configured(self, options: TaskOptions) -> "Detection":
        """With the fine-tuning, augmented copies and epochs of the command line."""
        copies = 0 if options.finetune else options.augment
        return replace(self, finetune=options.finetune, copies=copies, epochs=options.epochs, preset=options.preset)

    def not_applicable(self, manifest: Manifest) -> str | None:
        """A dataset without boxes, or without one of the splits, has nothing to detect."""
        if self.preset is not None:
            return f"preset {self.preset} sets a recipe that detection does not follow yet: run it without --preset"
        if manifest.boxes is None or not len(manifest.boxes):
            return "it has no boxes"
        empty = [split for split in ("train", "val", "test") if not len(manifest.rows_of(split))]
        return f"its {' and '.join(empty)} split is empty" if empty else None

    def seeds_matter(self, fraction: float) -> bool:
        """Always: the head starts from random weights."""
        del fraction
        return True

    def run(self, encoder: FrozenEncoder, manifest: Manifest, cell: Cell) -> Predictions:
        """Train on the train split, stop by the validation split, predict validation and test."""
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
            model = self._model(encoder, manifest, len(labels), cell)
            preprocess = model.preprocess
            geometry = geometry_of(manifest, truth, preprocess, np.union1d(train[shown], held_out), context)
            squares = {row: geometry[row].boxes_to_square(truth.boxes[row]) for row in truth.boxes if row in geometry}
            shapes = np.concatenate([squares[row][:, 2:] for row in train[shown]])
            grid = Grid(preprocess.size, anchors(shapes, np.random.default_rng(cell.seed)))
            targets = BoxTargets(squares, truth.classes, manifest.images["image_id"].to_numpy(str), grid, len(labels),
                                 cell.seed if self.finetune else SEED)  # fmt: skip
            trainer = _DetectionTrainer(model, targets, context)
            recipe = FINETUNED if self.finetune else FROZEN
            fitted = fit(
                model.module,
                lambda epoch: balanced_epoch(
                    train, shown, epoch, epoch if self.finetune else epoch % (self.copies + 1), cell.seed
                ),
                trainer.loss,
                lambda: trainer.loss_of(val),
                recipe.of_epochs(self.epochs),
                context,
                what=f"{cell.encoder} on {cell.task}",
                groups=model.groups,
            )
            found = trainer.predict(held_out, geometry)
        rows = manifest.images.iloc[held_out][["image_id", "patient_id", "split"]].reset_index(drop=True)
        return Predictions(
            rows=pd.concat([rows, found], axis=1),
            labels=labels,
            kind="detection",
            groups=_groups(manifest, labels),
            synthetic=manifest.synthetic,
            cell=cell.facts() | {"train_images": len(train), "steps": fitted.steps,
                                 "validation_losses": list(fitted.losses), "anchors": grid.anchors.tolist()},
            encoder=encoder_facts(encoder.spec),
            dataset=manifest.facts(),
        )  # fmt: skip

    def _model(self, encoder: FrozenEncoder, manifest: Manifest, classes: int, cell: Cell) -> DenseModel:
        """The head, on frozen maps or with the encoder."""

        def head(widths: Sequence[int], sides: Sequence[int], size: int) -> nn.Module:
            return YoloHead(widths, sides, size, classes)

        if self.finetune:
            return finetuned(encoder, manifest, cell, head)
        return on_frozen_maps(encoder, manifest, self.copies, head, LEVELS)


TASK = Detection()


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
