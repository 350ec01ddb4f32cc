"""Detection: YOLOv3's head on the maps of a frozen encoder (or of one that is trained with it) finds the boxes."""

from dataclasses import dataclass

from cxrbench.data.manifest import Manifest
from cxrbench.predictions import Predictions
from cxrbench.task import Cell, FrozenEncoder, Need
from cxrbench.tasks.dense.dense_task import DenseTask


@dataclass(frozen=True, kw_only=True)
class Detection(DenseTask):
    """The ``detection`` protocol.

    YOLOv3's head on three levels of the pyramid, its nine anchors learnt from the training boxes. An epoch is every
    image with a box and as many without, drawn anew. The validation loss chooses the weights. Labels are those of which
    a training image has a box.
    """

    name: str = "detection"
    summary: str = "YOLOv3 head on frozen maps, or fine-tuned: mAP .40-.75, mAP .50-.95, AP50"
    needs: tuple[Need, ...] = ("boxes", "train", "val", "test")

    def run(self, encoder: FrozenEncoder, manifest: Manifest, cell: Cell) -> Predictions:
        """Train on the train split, stop by the validation split, predict validation and test."""
        from cxrbench.tasks.dense.detector import detect

        return detect(self, encoder, manifest, cell)


TASK = Detection()
