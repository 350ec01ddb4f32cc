"""Training and asking a detection head."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from cxrbench.data.manifest import Manifest, Rows
from cxrbench.errors import UserError
from cxrbench.features.augmentation import SEED
from cxrbench.features.device import autocast
from cxrbench.features.maps.dense import Geometry
from cxrbench.metrics.classification import Weights
from cxrbench.metrics.detection import MEASURES, score
from cxrbench.predictions import Predictions
from cxrbench.task import Cell, FrozenEncoder, RunContext, predictions_of
from cxrbench.tasks.dense.box_targets import BoxTargets, BoxTruth, boxed_labels, geometry_of
from cxrbench.tasks.dense.dense_task import DenseTask
from cxrbench.tasks.dense.detectors.detector import Detector, loss_of
from cxrbench.tasks.dense.detectors.named import build_head, detector_of
from cxrbench.tasks.dense.detectors.yolo import LEVELS
from cxrbench.tasks.dense.model import DenseModel, finetuned, on_frozen_maps
from cxrbench.tasks.dense.moves import Draw, our_draw, paper_draw
from cxrbench.tasks.dense.recipe import DetectionRecipe
from cxrbench.tasks.dense.training import Examples, epoch_of, seeded, train_model
from cxrbench.tasks.training.recipe import training_rows

EVALUATION_BATCH = 32
SELECTED = {"val_map": "map", "val_map_mgca": "map_mgca"}


def detect(
    protocol: DenseTask, recipe: DetectionRecipe, encoder: FrozenEncoder, manifest: Manifest, cell: Cell
) -> Predictions:
    """Train on the train split, stop by the validation split, predict validation and test.

    Raises UserError where the training or the validation split has no box.
    """
    context = encoder.context
    train, val, test = (manifest.rows_of(split) for split in ("train", "val", "test"))
    labels = boxed_labels(manifest, train)
    truth = BoxTruth.of(manifest, labels)
    if not truth.present[val].any():
        raise UserError(f"{manifest.name} has no box in its validation split, which chooses the weights")
    patients = manifest.images["patient_id"].to_numpy(str)
    train = training_rows(recipe, train, patients, truth.present, cell.fraction, cell.seed)
    shown = np.asarray(truth.present[train].any(axis=1))
    held_out = np.concatenate([val, test])
    draw = paper_draw(recipe.augmentation, cell.seed) if protocol.preset is not None else our_draw(
        cell.seed if protocol.finetune else SEED
    )  # fmt: skip
    with seeded(cell.seed, context.options.device):
        model = _model(protocol, recipe, encoder, manifest, len(labels), draw)
        size = model.preprocess.size
        geometry = geometry_of(manifest, truth, model.preprocess, np.union1d(train[shown], held_out), context)
        squares = {row: geometry[row].boxes_to_square(truth.boxes[row]) for row in truth.boxes if row in geometry}
        if not shown.any():
            raise UserError(
                f"no training image of {cell.task} at fraction {cell.fraction:g} has a box: raise --fractions"
            )
        shapes = np.concatenate([squares[row][:, 2:] for row in train[shown]])
        detector = detector_of(recipe, model.head, size, len(labels), shapes, np.random.default_rng(cell.seed))
        targets = BoxTargets(squares, truth.classes, manifest.images["image_id"].to_numpy(str), detector, size, draw)
        trainer = _DetectionTrainer(model, targets, detector, geometry, context)

        def told(rows: Rows, found: pd.DataFrame, facts: Mapping[str, object]) -> Predictions:
            return predictions_of(
                cell, encoder, manifest, manifest.images.iloc[rows], found, labels=labels, kind="detection",
                groups=_groups(manifest, labels), facts=facts, notes=protocol.told(manifest.name, cell.fraction),
            )  # fmt: skip

        def measured() -> Mapping[str, float]:
            loss = {"val_loss": trainer.loss_of(val)}
            if recipe.select not in SELECTED:
                return loss
            scored = score(told(val, trainer.predict(val), {}), manifest)
            return {**loss, recipe.select: _mean_ap(scored, SELECTED[recipe.select])}

        fitted = train_model(
            model.module,
            lambda epoch: epoch_of(recipe, train, shown, epoch, protocol.copy_in(epoch, recipe), cell.seed),
            trainer.loss,
            measured,
            protocol.shortened(recipe),
            context,
            what=f"{cell.encoder} on {cell.task}",
            select=recipe.select,
            groups=model.groups(recipe),
        )
        found = trainer.predict(held_out)
    facts = {**fitted.facts(), **model.facts(recipe.detector), **detector.facts}
    return told(held_out, found, {"train_images": len(train), **facts})


def _model(
    protocol: DenseTask, recipe: DetectionRecipe, encoder: FrozenEncoder, manifest: Manifest, classes: int, draw: Draw
) -> DenseModel:
    """The head, on frozen maps or with the encoder."""

    def head(widths: Sequence[int], sides: Sequence[int], size: int) -> nn.Module:
        return build_head(recipe.detector, widths, sides, size, classes)

    if protocol.finetune:
        return finetuned(encoder, manifest, head, LEVELS, draw)
    moved = draw if protocol.preset is not None and recipe.augmentation else None
    return on_frozen_maps(encoder, manifest, protocol.copies, head, LEVELS, moved)


def _mean_ap(scored: Predictions, measure: str) -> float:
    """A measure of a split, mean over its labels that have a box; 0 where none is left."""
    prepared = MEASURES[measure].prepare(scored.rows, scored.labels)
    ones = Weights.of(np.ones((len(scored.rows), 1), np.int64))
    values = [float(value) for metric in prepared.values() if not np.isnan(value := metric(ones)[0])]
    return float(np.mean(values)) if values else 0.0


@dataclass(frozen=True)
class _DetectionTrainer:
    """The model with its inputs and targets, on batches of manifest rows. ``geometry``: of rows that are predicted."""

    model: DenseModel
    targets: BoxTargets
    detector: Detector
    geometry: Mapping[int, Geometry] = field(repr=False)
    context: RunContext

    def raw(self, rows: Rows, copy: int = 0) -> Tensor:
        """The head's numbers [len(rows), N, F]."""
        return self.model(rows, copy, self.context.options.device)

    def sums(self, rows: Rows, copy: int = 0) -> Tensor:
        """The loss's sums over some rows."""
        return self.detector.loss_sums(self.raw(rows, copy), self.targets(rows, copy))

    def loss(self, examples: Examples) -> Tensor:
        """Loss of a batch of (row, copy), which all have the same copy number."""
        return loss_of(self.sums(examples[:, 0], int(examples[0, 1])))

    def loss_of(self, rows: Rows) -> float:
        """Loss of a whole split."""
        return loss_of(torch.stack([self.sums(batch).double() for batch in _batches(rows)]).sum(0)).item()

    def predict(self, rows: Rows) -> pd.DataFrame:
        """``boxes``, ``scores``, ``classes`` of rows, in native pixels."""
        options, found = self.context.options, []
        for batch in _batches(rows):
            with torch.inference_mode(), autocast(options.device, options.precision):
                raw = self.raw(batch)
            for row, of_image in zip(batch, raw.float(), strict=True):
                corners, scores, classes = (x.cpu().numpy() for x in self.detector.found(of_image))
                boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1).astype(np.float64)
                native = self.geometry[int(row)].boxes_to_native(boxes)
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
