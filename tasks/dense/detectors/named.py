"""Detection heads by name, and how their numbers are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from cxrbench.task import DetectorName
from cxrbench.tasks.dense.detectors.anchors import Shapes, anchors
from cxrbench.tasks.dense.detectors.detector import Detector, Found
from cxrbench.tasks.dense.detectors.torchvision_heads import PyramidHead, TorchvisionDetector
from cxrbench.tasks.dense.detectors.yolo import Grid, YoloHead, detections
from cxrbench.tasks.dense.detectors.yolo_loss import Targets, loss_sums
from cxrbench.tasks.dense.detectors.yolov3 import YoloV3, YoloV3Head, rescaled_anchors
from cxrbench.tasks.dense.recipe import DetectionRecipe


def build_head(
    name: DetectorName, widths: Sequence[int], sides: Sequence[int], size: int, classes: int
) -> nn.Module:  # fmt: skip
    """A module from native maps to numbers [B, N, F]. Its initial weights come from torch's global generator.

    widths, sides: channels and side in cells of each of the four maps; size: pixels of the encoder's square.
    """
    if name == "yolo":
        return YoloHead(widths, sides, size, classes)
    if name == "yolov3":
        return YoloV3Head(widths, sides, size, classes)
    return PyramidHead(name, widths, sides, size, classes)


def detector_of(
    recipe: DetectionRecipe, head: nn.Module, size: int, classes: int, shapes: Shapes, generator: np.random.Generator
) -> Detector:
    """How the numbers of ``head`` are taught and read. ``shapes``: (width, height) [n, 2] of the training boxes."""
    if isinstance(head, PyramidHead):
        return TorchvisionDetector(head, size, recipe)
    grid = Grid(size, rescaled_anchors(size) if recipe.anchors == "yolov3" else anchors(shapes, generator))
    return YoloV3(grid, classes, recipe) if recipe.detector == "yolov3" else Yolo(grid, classes, recipe)


@dataclass(frozen=True)
class Yolo:
    """Our own YOLO head."""

    grid: Grid
    labels: int
    recipe: DetectionRecipe

    @property
    def facts(self) -> dict[str, Any]:
        """The anchors, in the square's pixels."""
        return {"anchors": self.grid.anchors.tolist()}

    def targets(self, boxes: NDArray[np.float64], classes: NDArray[np.int64]) -> Targets:
        """See Targets."""
        return Targets.of(boxes, classes, self.grid, self.labels)

    def loss_sums(self, raw: Tensor, targets: Sequence[Targets]) -> Tensor:
        """See loss_sums."""
        return loss_sums(raw, targets, self.grid)

    def found(self, raw: Tensor) -> Found:
        """See detections."""
        return detections(raw, self.grid, self.recipe.confidence, self.recipe.nms)
