"""Detection: a head on the maps of a frozen encoder (or of one that is trained with it) finds the boxes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cxrbench.data.manifest import Manifest
from cxrbench.predictions import Predictions
from cxrbench.task import Cell, DetectorName, FrozenEncoder, Need, OptionName
from cxrbench.tasks.dense.dense_task import DenseTask
from cxrbench.tasks.dense.recipe import DetectionRecipe

FROZEN = DetectionRecipe.ours(3e-3, epochs=12, min_steps=240)
FINETUNED = replace(FROZEN, learning_rate=1e-3)
RATES: Mapping[DetectorName, float] = {"yolo": 3e-3, "yolov3": 5e-4, "retinanet": 1e-3, "fcos": 1e-3}


@dataclass(frozen=True, kw_only=True)
class Detection(DenseTask):
    """The ``detection`` protocol.

    ``detector``: ``yolo``, our narrow YOLOv3 head on three levels of the pyramid, its nine anchors learnt from the
    training boxes; ``yolov3``, that of the papers, at its own width and with its own losses; ``retinanet``, ``fcos``,
    torchvision's heads with their own losses. None: ours, or the preset's. An epoch is every image with a box and as
    many without, drawn anew. The validation loss chooses the weights. A preset says otherwise. Labels are those of
    which a training image has a box.
    """

    name: str = "detection"
    section: str = "detection"
    summary: str = "YOLOv3, RetinaNet or FCOS head on frozen maps, or fine-tuned: mAP .40-.75, mAP .50-.95, AP50"
    needs: tuple[Need, ...] = ("boxes", "train", "val", "test")
    reads: frozenset[OptionName] = frozenset({"detector", "finetune", "augment", "epochs", "preset"})
    detector: DetectorName | None = None

    @property
    def settings(self) -> tuple[str, ...]:
        """``fcos``, where another detector than the recipe's is wanted, and what all dense protocols say."""
        usual = replace(self, detector=None).recipe("", None).detector
        return (*[self.detector or usual] * (self.detector not in (None, usual)), *super().settings)

    def recipe(self, dataset: str, fraction: float | None) -> DetectionRecipe:
        """How the head is trained on a dataset at a label fraction. Another detector than a paper's has own anchors."""
        if self.preset is not None:
            recipe = DetectionRecipe.of(self.paper_settings(dataset, fraction), f"{dataset}:{self.name}")
            if self.detector in (None, recipe.detector):
                return recipe
            return replace(recipe, detector=self.detector, anchors=None)
        detector = self.detector or "yolo"
        rate = min(RATES[detector], FINETUNED.learning_rate) if self.finetune else RATES[detector]
        return replace(FROZEN, detector=detector, learning_rate=rate)

    def run(self, encoder: FrozenEncoder, manifest: Manifest, cell: Cell) -> Predictions:
        """Train on the train split, stop by the validation split, predict validation and test."""
        from cxrbench.tasks.dense.detector import detect

        return detect(self, self.recipe(manifest.name, cell.fraction), encoder, manifest, cell)


TASK = Detection()
