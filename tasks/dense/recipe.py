"""How a head on maps is trained: ours, or as a paper has it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self

from cxrbench.errors import UserError
from cxrbench.task import DecoderName, DetectorName
from cxrbench.tasks.presets.recipes import honour
from cxrbench.tasks.training.recipe import TrainingRecipe

LossName = Literal["dice_bce", "cross_entropy", "focal_dice", "10focal_logdice"]
AnchorsName = Literal["learnt", "yolov3"]
CONFIDENCE = 0.005
NMS = 0.5


@dataclass(frozen=True, kw_only=True)
class DenseRecipe(TrainingRecipe):
    """The settings of ``presets.KEYS`` for dense protocols, and those that are ours alone.

    ``sampling``: an epoch is every training image, or every one that shows something and as many that do not, drawn
    anew. ``clip``: gradients are cut at that norm. Ours alone: at least ``min_steps`` optimizer steps, where the data
    are few; ``warmup_share``: of the steps, in place of ``warmup_epochs``.
    """

    learning_rate: float
    sampling: Literal["all", "balanced"] = "all"
    clip: float | None = None
    min_steps: int = 0
    warmup_share: float = 0.0

    @classmethod
    def ours(cls, learning_rate: float, epochs: int, min_steps: int, **others: Any) -> Self:
        """Our own: AdamW, a warm-up of a twentieth of the steps, cosine to 0, stopping after three idle rounds."""
        return cls(
            learning_rate=learning_rate, epochs=epochs, min_steps=min_steps, batch_size=16, weight_decay=1e-4,
            decay_all=True, warmup_share=0.05, patience=3, clip=1.0, sampling="balanced", **others,
        )  # fmt: skip

    @classmethod
    def of(cls, settings: Mapping[str, Any], who: str) -> Self:
        """The recipe that a preset's section describes. Raises UserError for a setting that it cannot honour."""
        given = {key: value for key, value in settings.items() if key != "note"}
        if "augmentation" in given:
            given["augmentation"] = tuple(given["augmentation"])
        ours_alone = {"min_steps", "warmup_share"}
        honour(given, {field.name for field in fields(cls)} - ours_alone, who)
        return cls(**given)

    def of_epochs(self, epochs: int | None) -> Self:
        """The same with exactly so many epochs at most, and a patience of a third of them; None: unchanged."""
        if epochs is None:
            return self
        return replace(self, epochs=epochs, min_steps=0, patience=max(self.patience or 0, epochs // 3))


@dataclass(frozen=True, kw_only=True)
class SegmentationRecipe(DenseRecipe):
    """``select``: val_dice is that of the masks at one half, over all pixels of the validation split together."""

    decoder: DecoderName = "unet"
    loss: LossName = "dice_bce"
    select: Literal["val_loss", "val_dice", "last"] = "val_loss"


@dataclass(frozen=True, kw_only=True)
class DetectionRecipe(DenseRecipe):
    """``anchors``: of YOLO heads, learnt from the training boxes or YOLOv3's, rescaled. ``confidence``: detections of
    a lower score are dropped; ``nms``: IoU of non-maximum suppression. ``select``: val_map is mAP .40-.75 over
    all images, val_map_mgca over those with a box and a detection, as MGCA's code has it.
    """

    detector: DetectorName = "yolo"
    anchors: AnchorsName | None = None
    confidence: float = CONFIDENCE
    nms: float = NMS
    select: Literal["val_loss", "val_map", "val_map_mgca", "last"] = "val_loss"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.anchors is not None and self.detector not in ("yolo", "yolov3"):
            raise UserError(f"anchors = {self.anchors!r} are of YOLO heads; {self.detector} has its own")
        if elastic := next((step for step in self.augmentation if "elastic" in step), None):
            raise UserError(f"augmentation {dict(elastic)} moves no boxes: leave it out of detection")
