"""YOLOv3's head at its own width, as MGCA and FaNe put it on a frozen ResNet-50. Redmon and Farhadi (2018).

HKU-MedAI/MGCA, ``mgca/models/ssl_detector.py`` and ``mgca/utils/yolo_loss.py``. With ResNet-50 and one class it has
21.6 M parameters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.ops import batched_nms

from cxrbench.tasks.dense.detectors.anchors import shape_iou
from cxrbench.tasks.dense.detectors.detector import CANDIDATES, MAX_DETECTIONS, Found
from cxrbench.tasks.dense.detectors.yolo import BOX, LEVELS, PER_CELL, Grid
from cxrbench.tasks.dense.native_pyramid import NativePyramid
from cxrbench.tasks.dense.recipe import DetectionRecipe

WIDTHS = (128, 256, 512)
"""Of the blocks at strides 8, 16, 32; each has 3 x 3 convolutions of twice the width."""
ANCHORS = ((10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 119), (116, 90), (156, 198), (373, 326))
ANCHORS_SIZE = 416
"""YOLOv3's anchors are pixels of a square of 416."""
IGNORED_IOU = 0.5
COORDINATES, NO_OBJECT = 2.5, 0.5


def rescaled_anchors(size: int) -> NDArray[np.float64]:
    """YOLOv3's nine anchors [9, 2] in the pixels of a square of ``size``: times 224 / 416 in MGCA and FaNe."""
    return np.array(ANCHORS, np.float64) * size / ANCHORS_SIZE


class YoloV3Head(nn.Module):
    """Native maps of strides 8, 16, 32 to [B, N, 5 + K] numbers at the places of a Grid.

    At each stride 1 x 1 and 3 x 3 convolutions by turns, three of each (batch norm, leaky ReLU 0.1), and a 1 x 1
    convolution; the output of the fifth goes through 1 x 1 to half the width, is doubled (nearest) and concatenated to
    the finer map. A plain ViT's maps come to the three strides as in BEiT. Maps are standardized without parameters.
    """

    def __init__(self, widths: Sequence[int], sides: Sequence[int], size: int, classes: int) -> None:
        super().__init__()
        self.pyramid = NativePyramid(widths, sides, size, LEVELS[0])
        native = widths[LEVELS[0] :]
        self.stems, self.tails, self.ups = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for i, width in enumerate(WIDTHS):
            above = 0 if i + 1 == len(WIDTHS) else width
            channels = native[i] + above
            if above:
                self.ups.append(_cbl(WIDTHS[i + 1], above, 1))
            stem = [_cbl(channels, width, 1)]
            for _ in range(2):
                stem += [_cbl(width, 2 * width, 3), _cbl(2 * width, width, 1)]
            self.stems.append(nn.Sequential(*stem))
            self.tails.append(
                nn.Sequential(_cbl(width, 2 * width, 3), nn.Conv2d(2 * width, PER_CELL * (BOX + classes), 1))
            )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Native maps [B, C, side, side], all four or those of LEVELS, to float32 [B, N, 5 + K]."""
        found: list[Tensor] = []
        above: Tensor | None = None
        for i, level in reversed(list(enumerate(self.pyramid(maps)))):
            if above is not None:
                level = torch.cat([F.interpolate(self.ups[i](above), level.shape[-2:], mode="nearest"), level], 1)
            above = self.stems[i](level)
            raw = self.tails[i](above).float()
            found.append(raw.permute(0, 2, 3, 1).reshape(len(raw), -1, raw.shape[1] // PER_CELL))
        return torch.cat(found[::-1], 1)


def _cbl(channels: int, width: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.LeakyReLU(0.1))


class Assigned(NamedTuple):
    """What one image teaches: ``places`` [P] that answer for a box, its ``offsets`` [P, 4] and ``classes`` [P, K].

    ``ignored``: places that fit a box and are not to be told that they show none.
    """

    places: Tensor
    offsets: Tensor
    classes: Tensor
    ignored: Tensor


@dataclass(frozen=True)
class YoloV3:
    """Its targets, loss and detections, as in MGCA's code.

    At each of the three strides the anchor whose shape fits a box best answers for it in the cell that holds the box's
    centre (YOLOv3: the best of all nine alone). Binary cross-entropy of the centre within its cell and squared error
    of the sides' logarithms, both times 2.5; of objectness, with half weight where nothing is, without anchors of IoU
    above 0.5 in a cell with a box; of classes. Each is a mean over all places of a stride, and the strides add up.
    (That code adds a cell to every side when it compares shapes; here IoU is IoU.) A detection's score is its
    objectness, its class the most probable one.
    """

    grid: Grid
    labels: int
    recipe: DetectionRecipe

    @property
    def facts(self) -> Mapping[str, Any]:
        """The anchors, in the square's pixels."""
        return {"anchors": self.grid.anchors.tolist()}

    def targets(self, boxes: NDArray[np.float64], classes: NDArray[np.int64]) -> Assigned:
        """Of two boxes that want the same place the later one has it; both give it their class."""
        fits = shape_iou(boxes[:, 2:], self.grid.anchors) if len(boxes) else np.empty((0, len(self.grid.anchors)))
        taken: dict[int, tuple[int, int]] = {}
        shown: dict[int, set[int]] = {}
        ignored: set[int] = set()
        for box, fit in enumerate(fits):
            centre = boxes[box, :2] + boxes[box, 2:] / 2
            ignored |= {self.grid.place(int(anchor), *centre) for anchor in np.flatnonzero(fit > IGNORED_IOU)}
            for first in range(0, len(fit), PER_CELL):
                anchor = first + int(fit[first : first + PER_CELL].argmax())
                place = self.grid.place(anchor, *centre)
                taken[place] = box, anchor
                shown.setdefault(place, set()).add(int(classes[box]))
        cells = self.grid.cells.numpy()
        offsets, one_hot = np.zeros((len(taken), 4), np.float32), np.zeros((len(taken), self.labels), np.float32)
        for row, (place, (box, _)) in enumerate(taken.items()):
            corner, pitch, anchor = cells[place, :2], cells[place, 2], cells[place, 3:]
            offsets[row, :2] = np.clip((boxes[box, :2] + boxes[box, 2:] / 2 - corner) / pitch, 0, 1)
            offsets[row, 2:] = np.log(np.maximum(boxes[box, 2:], 1e-6) / anchor)
            one_hot[row, sorted(shown[place])] = 1
        places = torch.tensor(list(taken), dtype=torch.int64)
        return Assigned(
            places,
            torch.from_numpy(offsets),
            torch.from_numpy(one_hot),
            torch.tensor(sorted(ignored), dtype=torch.int64),
        )

    def loss_sums(self, raw: Tensor, targets: Sequence[Assigned]) -> Tensor:
        """[2]: the loss of a batch, summed over its images, and their number."""
        device = raw.device
        image = torch.arange(len(targets)).repeat_interleave(torch.tensor([len(t.places) for t in targets])).to(device)
        places, offsets, classes = (
            torch.cat([getattr(t, name) for t in targets]).to(device) for name in ("places", "offsets", "classes")
        )
        share = self._share.to(device)  # a place's share of the mean over its stride
        weight = torch.full(raw.shape[:2], NO_OBJECT, device=device)
        for i, t in enumerate(targets):
            weight[i, t.ignored.to(device)] = 0
        objects = torch.zeros_like(weight)
        objects[image, places] = 1
        # as in the code, a place that answers for a box may be told both: half that it shows none, if it fits badly
        nothing = F.softplus(raw[..., BOX - 1]) * weight
        something = F.softplus(-raw[..., BOX - 1]) * objects
        mine, of = raw[image, places], share[places]
        centre = F.binary_cross_entropy_with_logits(mine[:, :2], offsets[:, :2], reduction="none").sum(1)
        sides = (mine[:, 2:4] - offsets[:, 2:]).square().sum(1)
        kind = F.binary_cross_entropy_with_logits(mine[:, BOX:], classes, reduction="none").mean(1)
        total = ((nothing + something) * share).sum() + (of * (COORDINATES * (centre + sides) + kind)).sum()
        return torch.stack([total, torch.tensor(float(len(raw)), device=device)])

    @property
    def _share(self) -> Tensor:
        """[N]: one over the number of places of the same stride."""
        counts = [side * side * PER_CELL for side in self.grid.sides]
        return torch.cat([torch.full((n,), 1 / n) for n in counts])

    def found(self, raw: Tensor) -> Found:
        """Detections of objectness at least ``confidence`` that non-maximum suppression within classes leaves."""
        scores = raw[:, BOX - 1].sigmoid()
        best, place = scores.topk(min(CANDIDATES, len(scores)))
        place, best = place[best >= self.recipe.confidence], best[best >= self.recipe.confidence]
        corners = self.grid.boxes(raw[place], self.grid.cells.to(raw.device)[place]).clamp(0, self.grid.size)
        label = raw[place, BOX:].argmax(1)
        solid = ((corners[:, 2:] - corners[:, :2]) > 0).all(1)
        corners, best, label = corners[solid], best[solid], label[solid]
        kept = batched_nms(corners, best, label, self.recipe.nms)[:MAX_DETECTIONS]
        return Found(corners[kept], best[kept], label[kept])
