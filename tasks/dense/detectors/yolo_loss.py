"""What YOLOv3's head shall say of images with these boxes, and how wrong it is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import complete_box_iou_loss

from cxrbench.tasks.dense.detectors.anchors import shape_iou
from cxrbench.tasks.dense.detectors.yolo import BOX, Grid

IGNORED_IOU = 0.5
FITTING_IOU = 0.5
BOX_WEIGHT = 2.0


@dataclass(frozen=True)
class Targets:
    """What one image shows. ``corners``: [G, 4] of all of its boxes, float32 in the square's pixels.

    ``places``: [P] of the Grid that answer for a box; ``boxes``: [P, 4] its corners; ``classes``: [P, K] of 0 and 1.
    """

    corners: Tensor
    places: Tensor
    boxes: Tensor
    classes: Tensor

    @staticmethod
    def of(boxes: NDArray[np.float64], labels: NDArray[np.int64], grid: Grid, classes: int) -> "Targets":
        """From boxes [G, 4] (x, y, width, height) in the square's pixels and their labels [G].

        A box belongs, in the cell that holds its centre, to the anchor whose shape fits it best of all nine, and to any
        other whose IoU with it is above 0.5 when both have one centre. (YOLOv3 takes the best alone. Findings of one
        kind have nearly one shape, so all nine anchors do, and which of them is best is chance: with the best alone
        mAP on phantom RSNA was 0.22 instead of 0.32.) Boxes that want the same place share it: the last gives its
        corners, all give their class.
        """
        fits = shape_iou(boxes[:, 2:], grid.anchors) if len(boxes) else np.empty((0, len(grid.anchors)))
        centres = boxes[:, :2] + boxes[:, 2:] / 2
        taken: dict[int, list[int]] = {}
        for box, (fit, centre) in enumerate(zip(fits, centres, strict=True)):
            for anchor in np.flatnonzero((fit > FITTING_IOU) | (fit == fit.max())):
                taken.setdefault(grid.place(int(anchor), *centre), []).append(box)
        shown = np.zeros((len(taken), classes), np.float32)
        for row, members in enumerate(taken.values()):
            shown[row, labels[members]] = 1
        corners = torch.from_numpy(np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)).float()
        last = torch.tensor([members[-1] for members in taken.values()], dtype=torch.int64)
        places = torch.tensor(list(taken), dtype=torch.int64)
        return Targets(corners, places, corners[last], torch.from_numpy(shown))


def loss_sums(raw: Tensor, targets: Sequence[Targets], grid: Grid) -> Tensor:
    """[2]: the loss of a batch of images summed over their boxes, and the number of places that answer for one.

    Their ratio is the loss of a batch or split (of images without any box, the sum is).

    raw: [B, N, 5 + K]. Objectness and classes: binary cross-entropy, as YOLOv3; a place without a box whose prediction
    overlaps a true box by more than 0.5 does not count. Boxes: 2 (1 - CIoU) (Zheng et al. 2020, "Distance-IoU loss")
    in place of YOLOv3's squared errors, because IoU is what is scored.
    """
    device, cells = raw.device, grid.cells.to(raw.device)
    images = _image_of([len(t.places) for t in targets], device)
    places, boxes, classes, corners = (
        torch.cat([getattr(t, name) for t in targets]).to(device) for name in ("places", "boxes", "classes", "corners")
    )
    objects = torch.zeros(raw.shape[:2], device=device)
    objects[images, places] = 1
    with torch.no_grad():
        shown = _image_of([len(t.corners) for t in targets], device)
        overlaps = _iou(grid.boxes(raw, cells)[shown], corners[:, None])  # [all boxes, N]
        highest = torch.zeros_like(objects).scatter_reduce(0, shown[:, None].expand_as(overlaps), overlaps, "amax")
        counted = ((highest <= IGNORED_IOU) | (objects == 1)).float()
    mine = raw[images, places]
    objectness = F.binary_cross_entropy_with_logits(raw[..., BOX - 1], objects, counted, reduction="sum")
    where = complete_box_iou_loss(grid.boxes(mine, cells[places]), boxes, reduction="sum")
    what = F.binary_cross_entropy_with_logits(mine[:, BOX:], classes, reduction="sum")
    return torch.stack([objectness + BOX_WEIGHT * where + what, objects.sum()])


def _image_of(counts: Sequence[int], device: torch.device) -> Tensor:
    """Image 0 ``counts[0]`` times, image 1 ``counts[1]`` times, ..."""
    return torch.arange(len(counts), device=device).repeat_interleave(torch.tensor(counts, device=device))


def _iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of corners [..., 4], element by element."""
    sides = torch.minimum(boxes[..., 2:], others[..., 2:]) - torch.maximum(boxes[..., :2], others[..., :2])
    shared = sides.clamp(min=0).prod(-1)
    areas = [(b[..., 2:] - b[..., :2]).prod(-1) for b in (boxes, others)]
    return shared / (areas[0] + areas[1] - shared)
