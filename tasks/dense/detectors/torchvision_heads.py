"""RetinaNet's and FCOS's heads with their own targets, losses and detections, as torchvision has them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models.detection import FCOS, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOSHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNetHead

from cxrbench.tasks.dense.detectors.detector import CANDIDATES, MAX_DETECTIONS, Found
from cxrbench.tasks.dense.detectors.yolo import DROPOUT, LEVELS
from cxrbench.tasks.dense.neck import STRIDES, Neck
from cxrbench.tasks.dense.recipe import DetectionRecipe

WIDTH = 64
"""Of the pyramid and the towers, as our YOLO head's: heads are compared, not sizes (COCO's have 256)."""
OCTAVES = (0, 1 / 3, 2 / 3)
RATIOS = (0.5, 1.0, 2.0)
NUMBERS = {"retinanet": ("cls_logits", "bbox_regression"), "fcos": ("cls_logits", "bbox_regression", "bbox_ctrness")}


class PyramidHead(nn.Module):
    """Native maps to [B, N, K + 4] (RetinaNet) or [B, N, K + 5] (FCOS) numbers at the places of strides 8, 16, 32.

    RetinaNet (Lin et al. 2017): nine anchors a cell, of 4 strides times 2^0, 2^(1/3), 2^(2/3), sides as 1:2, 1:1, 2:1.
    FCOS (Tian et al. 2019): one place a cell. Dropout as in our YOLO head.
    """

    def __init__(
        self, kind: Literal["retinanet", "fcos"], widths: Sequence[int], sides: Sequence[int], size: int, classes: int
    ) -> None:
        super().__init__()
        self.kind, self.classes = kind, classes
        self.norms = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(widths[level], affine=False), nn.Dropout2d(DROPOUT)) for level in LEVELS
        )
        neck: Any = Neck(widths, sides, size, WIDTH, finest=LEVELS[0])
        neck.out_channels = WIDTH
        self.sides = neck.sides
        strides = [STRIDES[level] for level in LEVELS]
        shared: dict[str, Any] = {"detections_per_img": MAX_DETECTIONS, "topk_candidates": CANDIDATES}
        if kind == "retinanet":
            boxes = AnchorGenerator(
                tuple(tuple(4 * s * 2**o for o in OCTAVES) for s in strides), (RATIOS,) * len(strides)
            )
            head = RetinaNetHead(WIDTH, len(OCTAVES) * len(RATIOS), classes)
            self.model: Any = RetinaNet(neck, classes, anchor_generator=boxes, head=head, **shared)
        else:
            boxes = AnchorGenerator(tuple((s,) for s in strides), ((1.0,),) * len(strides))
            self.model = FCOS(neck, classes, anchor_generator=boxes, head=FCOSHead(WIDTH, 1, classes), **shared)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Native maps [B, C, side, side], all four or those of LEVELS, to float32 numbers."""
        standard = [norm(native) for norm, native in zip(self.norms, maps[-len(LEVELS) :], strict=True)]
        numbers = self.model.head(list(self.model.backbone(standard)))
        return torch.cat([numbers[name].float() for name in NUMBERS[self.kind]], -1)


@dataclass(frozen=True)
class TorchvisionDetector:
    """Targets, loss and detections of a PyramidHead on squares of ``size``.

    RetinaNet's loss is a mean over images, FCOS's over the places of a batch that answer for a box; a split's is the
    mean over its batches by number of images. ``found`` has torchvision's scores: the class's, FCOS's times centredness
    under the root.
    """

    head: PyramidHead
    size: int
    recipe: DetectionRecipe

    @property
    def facts(self) -> Mapping[str, Any]:
        """The sides of RetinaNet's anchors, or FCOS's strides, in the square's pixels."""
        generator = self.head.model.anchor_generator
        return {"anchors": [[float(side) for side in sides] for sides in generator.sizes]}

    @cached_property
    def places(self) -> Tensor:
        """Anchors [N, 4] as corners in the square's pixels, finest first."""
        blank = torch.zeros(1, 1, self.size, self.size)
        levels = [torch.zeros(1, 1, side, side) for side in self.head.sides]
        return self.head.model.anchor_generator(ImageList(blank, [(self.size, self.size)]), levels)[0]

    @property
    def counts(self) -> list[int]:
        """Places of each stride."""
        cells = [side * side for side in self.head.sides]
        return [n * len(self.places) // sum(cells) for n in cells]

    def targets(self, boxes: NDArray[np.float64], classes: NDArray[np.int64]) -> Mapping[str, Tensor]:
        """Corners and classes; torchvision assigns them."""
        corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
        return {"boxes": torch.from_numpy(corners).float(), "labels": torch.from_numpy(classes)}

    def loss_sums(self, raw: Tensor, targets: Sequence[Mapping[str, Tensor]]) -> Tensor:
        """[2]: the loss of a batch times its images, and their number."""
        places = [self.places.to(raw.device)] * len(raw)
        there = [{name: value.to(raw.device) for name, value in each.items()} for each in targets]
        level_counts = [self.counts] if self.head.kind == "fcos" else []
        losses = self.head.model.compute_loss(there, self._named(raw), places, *level_counts)
        return torch.stack([torch.stack(list(losses.values())).sum() * len(raw), raw.new_tensor(float(len(raw)))])

    def found(self, raw: Tensor) -> Found:
        """The detections in the numbers of one image."""
        model = self.head.model
        model.score_thresh, model.nms_thresh = self.recipe.confidence, self.recipe.nms
        numbers = {name: list(of.split(self.counts, 1)) for name, of in self._named(raw[None]).items()}
        places = [list(self.places.to(raw.device).split(self.counts))]
        (one,) = model.postprocess_detections(numbers, places, [(self.size, self.size)])
        solid = ((one["boxes"][:, 2:] - one["boxes"][:, :2]) > 0).all(1)
        return Found(one["boxes"][solid], one["scores"][solid], one["labels"][solid])

    def _named(self, raw: Tensor) -> dict[str, Tensor]:
        names = NUMBERS[self.head.kind]
        return dict(zip(names, raw.split([self.head.classes, 4, *[1] * (len(names) - 2)], -1), strict=True))
