"""YOLOv3's head: three grids of anchors on a pyramid, and what their numbers mean. Redmon and Farhadi (2018)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.ops import batched_nms

from cxrbench.tasks.dense.detectors.detector import CANDIDATES, MAX_DETECTIONS, Found
from cxrbench.tasks.dense.neck import Neck, pyramid_sides
from cxrbench.tasks.dense.recipe import CONFIDENCE, NMS

LEVELS = (1, 2, 3)  # of the pyramid: strides 8, 16, 32
PER_CELL = 3
BOX = 5  # x, y, width, height, objectness
WIDTH = 64
DROPOUT = 0.2  # of whole channels of the native maps: training sets of some hundred boxes are soon learnt by heart
OBJECT_PRIOR = 0.01  # of an untrained head, as Lin et al. (2017), RetinaNet, section 4.1
LARGEST = 4.0  # exp(4) = 55 times an anchor's side


@dataclass(frozen=True)
class Grid:
    """The N places where the head can put a box: levels one after the other, in each row, column, anchor.

    ``size``: of the encoder's square; ``anchors``: [9, 2] in its pixels, the smaller ones belong to the finer levels.
    """

    size: int
    anchors: NDArray[np.float64]

    @property
    def sides(self) -> tuple[int, ...]:
        """Cells a side of the three levels."""
        return tuple(pyramid_sides(self.size)[level] for level in LEVELS)

    @property
    def starts(self) -> tuple[int, ...]:
        """Number of the first place of each level."""
        return tuple(np.cumsum([0, *(side * side * PER_CELL for side in self.sides[:-1])]).tolist())

    def place(self, anchor: int, x: float, y: float) -> int:
        """The place with this anchor in whose cell the point (x, y) lies."""
        level, shape = divmod(anchor, PER_CELL)
        side = self.sides[level]
        column, row = (min(int(at * side / self.size), side - 1) for at in (x, y))
        return self.starts[level] + (row * side + column) * PER_CELL + shape

    @cached_property
    def cells(self) -> Tensor:
        """[N, 5] float32: left and upper edge and side of a place's cell, width and height of its anchor."""
        parts = []
        for side, shapes in zip(self.sides, self.anchors.reshape(len(LEVELS), PER_CELL, 2), strict=True):
            pitch = self.size / side
            row, column, shape = (i.ravel() for i in np.indices((side, side, PER_CELL)))
            parts.append(np.stack([column * pitch, row * pitch, np.full_like(row, 1) * pitch, *shapes[shape].T], 1))
        return torch.from_numpy(np.concatenate(parts)).float()

    def boxes(self, raw: Tensor, cells: Tensor) -> Tensor:
        """Corners [..., 4] from the head's numbers [..., 5 + K] at places with these ``cells`` [..., 5].

        YOLOv3, section 2.1: centre = (sigmoid(t) + cell) pitch, side = anchor exp(t).
        """
        corner, pitch, shape = cells[..., :2], cells[..., 2:3], cells[..., 3:]
        centre = corner + raw[..., :2].sigmoid() * pitch
        half = shape * raw[..., 2:4].clamp(max=LARGEST).exp() / 2
        return torch.cat([centre - half, centre + half], -1)


class YoloHead(nn.Module):
    """Neck, top-down path and three predictions: native maps to [B, N, 5 + K] numbers at the places of a Grid.

    Native maps are first standardized per channel (batch statistics in training): encoders differ in scale by orders of
    magnitude. As in YOLOv3 a level meets the coarser one, doubled, before 3 x 3 and 1 x 1 convolutions with batch norm
    and leaky ReLU. YOLOv3 concatenates them and mixes with a 1 x 1 convolution; the sum of two 1 x 1 convolutions, the
    level's being the neck's, is the same map at a quarter of the cost. One block a level instead of three, and narrower
    ones: the maps are frozen and the images are few.
    """

    def __init__(
        self, widths: Sequence[int], sides: Sequence[int], size: int, classes: int, width: int = WIDTH
    ) -> None:
        """``widths``, ``sides``: of the native maps; ``size``: of the encoder's square; ``classes``: K."""
        super().__init__()
        self.norms = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(widths[level], affine=False), nn.Dropout2d(DROPOUT)) for level in LEVELS
        )
        self.neck = Neck(widths, sides, size, width, finest=LEVELS[0])
        self.coarser = nn.ModuleList(nn.Conv2d(width, width, 1, bias=False) for _ in LEVELS[1:])
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.LeakyReLU(0.1))
            for _ in LEVELS
        )
        self.predictions = nn.ModuleList(nn.Conv2d(width, PER_CELL * (BOX + classes), 1) for _ in LEVELS)
        for prediction in self.predictions:
            assert isinstance(prediction.bias, nn.Parameter)
            with torch.no_grad():
                prediction.bias.view(PER_CELL, -1)[:, BOX - 1] = math.log(OBJECT_PRIOR / (1 - OBJECT_PRIOR))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Native maps [B, C, side, side], all four or those of LEVELS, to float32 [B, N, 5 + K]."""
        standard = [norm(native) for norm, native in zip(self.norms, maps[-len(LEVELS) :], strict=True)]
        found: list[Tensor] = []
        above: Tensor | None = None
        for i, level in reversed(list(enumerate(self.neck(standard)))):
            if above is not None:
                level = level + F.interpolate(self.coarser[i](above), level.shape[-2:], mode="nearest")
            above = self.blocks[i](level)
            raw = self.predictions[i](above).float()
            found.append(raw.permute(0, 2, 3, 1).reshape(len(raw), -1, raw.shape[1] // PER_CELL))
        return torch.cat(found[::-1], 1)


def detections(raw: Tensor, grid: Grid, confidence: float = CONFIDENCE, nms: float = NMS) -> Found:
    """From the head's numbers [N, 5 + K] of one image: score = P(object) P(class | object), then NMS within classes.

    Scores below ``confidence`` are dropped; of the rest the best 1,000 meet non-maximum suppression (IoU ``nms``),
    which keeps at most 100.
    """
    scores = raw[:, BOX - 1 : BOX].sigmoid() * raw[:, BOX:].sigmoid()
    best, at = scores.flatten().topk(min(CANDIDATES, scores.numel()))
    best, at = best[best >= confidence], at[best >= confidence]
    place, label = at // scores.shape[1], at % scores.shape[1]
    corners = grid.boxes(raw[place], grid.cells.to(raw.device)[place]).clamp(0, grid.size)
    solid = ((corners[:, 2:] - corners[:, :2]) > 0).all(1)
    corners, best, label = corners[solid], best[solid], label[solid]
    kept = batched_nms(corners, best, label, nms)[:MAX_DETECTIONS]
    return Found(corners[kept], best[kept], label[kept])
