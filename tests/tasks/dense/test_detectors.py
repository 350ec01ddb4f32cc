"""Detection heads of others: YOLOv3 at its own width, its loss written out; RetinaNet and FCOS of torchvision."""

from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torchvision.ops import box_iou

from cxrbench.encoder import EncoderCard, Preprocess
from cxrbench.encoders.families.timm import TimmEncoder
from cxrbench.task import DetectorName
from cxrbench.tasks.dense.detectors.detector import Detector, loss_of
from cxrbench.tasks.dense.detectors.named import build_head, detector_of
from cxrbench.tasks.dense.detectors.torchvision_heads import TorchvisionDetector
from cxrbench.tasks.dense.detectors.yolo import BOX, Grid
from cxrbench.tasks.dense.detectors.yolov3 import YoloV3, rescaled_anchors
from cxrbench.tasks.dense.recipe import DetectionRecipe
from cxrbench.tasks.dense.training import seeded

SIZE, CLASSES = 64, 2
PAPER = DetectionRecipe(learning_rate=5e-4, detector="yolov3", anchors="yolov3", confidence=0.5)
GRID = Grid(SIZE, rescaled_anchors(SIZE))
BOXES = np.array([[3, 5, 8, 8], [30, 20, 24, 36], [50, 1, 10, 15]], float)
LABELS = np.array([0, 1, 1])
NOTHING = np.empty((0, 4)), np.empty(0, np.int64)


def test_a_frozen_resnet50_is_read_at_stages_2_to_4() -> None:
    """What MGCA and FaNe put YOLOv3 on: 512, 1024 and 2048 channels at strides 8, 16, 32; anchors times 224 / 416."""
    encoder = TimmEncoder(timm.create_model("resnet50"), Preprocess(size=224), EncoderCard("resnet50")).eval()
    seen: dict[str, torch.Tensor] = {}
    for name in ("layer2", "layer3", "layer4"):
        encoder.backbone.get_submodule(name).register_forward_hook(lambda _m, _x, y, name=name: seen.update({name: y}))
    with torch.inference_mode():
        maps = encoder(torch.randn(1, 3, 224, 224)).maps
    assert [m.shape[1:] for m in maps] == [(256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)]
    for native, stage in zip(maps[1:], seen.values(), strict=True):
        assert torch.equal(native, stage)
    head: Any = build_head("yolov3", [m.shape[1] for m in maps], [m.shape[-1] for m in maps], 224, 1)
    assert [stem[0][0].in_channels for stem in head.stems] == [512 + 128, 1024 + 256, 2048]
    np.testing.assert_allclose(rescaled_anchors(224)[-1], [373 * 224 / 416, 326 * 224 / 416])
    with torch.inference_mode():
        assert head.eval()(maps).shape == (1, 3 * (28**2 + 14**2 + 7**2), 6)


def test_yolov3s_head_has_the_parameters_that_its_layers_add_up_to() -> None:
    def cbl(channels: int, width: int, kernel: int) -> int:
        return channels * width * kernel**2 + 2 * width

    def branch(channels: int, width: int) -> int:
        threes, ones = 3 * cbl(width, 2 * width, 3), 2 * cbl(2 * width, width, 1)
        return cbl(channels, width, 1) + threes + ones + 2 * width * 18 + 18

    total = branch(2048, 512) + branch(1024 + 256, 256) + branch(512 + 128, 128) + cbl(512, 256, 1) + cbl(256, 128, 1)
    head = build_head("yolov3", (256, 512, 1024, 2048), (56, 28, 14, 7), 224, 1)
    assert sum(p.numel() for p in head.parameters()) == total == 21_626_934


def written_out(raw: torch.Tensor, boxes: list[np.ndarray], labels: list[np.ndarray]) -> torch.Tensor:
    """MGCA's loss with its dense masks, stride by stride, as its text has it: means of BCE and MSE of masked values."""
    total = torch.zeros(())
    bce, mse = nn.BCELoss(), nn.MSELoss()
    for level, side in enumerate(GRID.sides):
        anchors = torch.from_numpy(GRID.anchors[3 * level : 3 * level + 3])
        first = GRID.starts[level]
        p = raw[:, first : first + side * side * 3].reshape(len(raw), side, side, 3, -1).permute(0, 3, 1, 2, 4)
        mask, tx, ty, tw, th = (torch.zeros(p.shape[:4]) for _ in range(5))
        free, kind = torch.ones(p.shape[:4]), torch.zeros(*p.shape[:4], CLASSES)
        for image, (those, of) in enumerate(zip(boxes, labels, strict=True)):
            for (x, y, w, h), label in zip(those, of, strict=True):
                gx, gy = (x + w / 2) / SIZE * side, (y + h / 2) / SIZE * side
                column, row = int(gx), int(gy)
                corners = torch.tensor([[-w / 2, -h / 2, w / 2, h / 2]])
                iou = box_iou(corners, torch.cat([-anchors / 2, anchors / 2], 1))[0]
                free[image, iou > 0.5, row, column] = 0
                best = int(iou.argmax())
                at = image, best, row, column
                mask[at], tx[at], ty[at] = 1, gx - column, gy - row
                tw[at], th[at] = np.log(w / float(anchors[best, 0])), np.log(h / float(anchors[best, 1]))
                kind[(*at, int(label))] = 1
        x, y, conf = (p[..., i].sigmoid() for i in (0, 1, 4))
        total = total + 2.5 * (bce(x * mask, tx * mask) + bce(y * mask, ty * mask))
        total = total + 2.5 * (mse(p[..., 2] * mask, tw * mask) + mse(p[..., 3] * mask, th * mask))
        total = total + bce(conf * mask, mask) + 0.5 * bce(conf * free, free * 0)
        total = total + bce(p[..., BOX:].sigmoid() * mask[..., None], kind * mask[..., None])
    return total


def test_yolov3s_loss_is_mgcas_written_out() -> None:
    detector = YoloV3(GRID, CLASSES, PAPER)
    raw = torch.randn(3, len(GRID.cells), BOX + CLASSES, generator=torch.Generator().manual_seed(0))
    images = [(BOXES[:2], LABELS[:2]), NOTHING, (BOXES[2:], LABELS[2:])]
    sums = detector.loss_sums(raw, [detector.targets(*image) for image in images])
    expected = written_out(raw, [boxes for boxes, _ in images], [labels for _, labels in images])
    torch.testing.assert_close(loss_of(sums), expected, rtol=1e-4, atol=1e-5)
    assert sums[1] == 3


def test_yolov3_finds_what_its_targets_say_and_nothing_of_little_confidence() -> None:
    detector = YoloV3(GRID, CLASSES, PAPER)
    targets = detector.targets(BOXES, LABELS)
    raw = torch.full((len(GRID.cells), BOX + CLASSES), -8.0)
    centres = targets.offsets[:, :2].clamp(1e-4, 1 - 1e-4)
    raw[targets.places, :2], raw[targets.places, 2:4] = torch.logit(centres), targets.offsets[:, 2:]
    raw[targets.places, 4], raw[targets.places, BOX:] = 3.0, 8 * targets.classes
    raw[0, 4] = -0.1  # a probability below one half
    found = detector.found(raw)
    corners = torch.from_numpy(np.concatenate([BOXES[:, :2], BOXES[:, :2] + BOXES[:, 2:]], 1)).float()
    overlaps = box_iou(found.corners, corners)
    assert len(found.scores) == 3  # three strides say each box: suppressed
    assert (overlaps.max(1).values > 0.98).all()
    assert [int(LABELS[i]) for i in overlaps.argmax(1)] == found.classes.tolist()


def made(name: DetectorName) -> tuple[nn.Module, Detector]:
    recipe = DetectionRecipe(learning_rate=1e-3, detector=name)
    with seeded(0, torch.device("cpu")):
        head = build_head(name, (4, 6, 8, 10), (16, 8, 4, 2), SIZE, CLASSES)
    return head, detector_of(recipe, head, SIZE, CLASSES, BOXES[:, 2:], np.random.default_rng(0))


def toy_maps() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = ((4, 16), (6, 8), (8, 4), (10, 2))
    return [torch.randn(3, width, side, side, generator=generator) for width, side in shapes]


@pytest.mark.parametrize(("name", "rate", "steps"), [("yolov3", 5e-3, 60), ("fcos", 2e-3, 40)])
def test_heads_learn_the_boxes_of_two_images_by_heart(
    name: DetectorName, rate: float, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxrbench.tasks.dense.detectors.yolov3.WIDTHS", (8, 16, 32))
    head, detector = made(name)
    for module in head.modules():
        if isinstance(module, nn.Dropout2d):
            module.p = 0.0  # by heart
    maps, images = toy_maps(), [(BOXES[:2], LABELS[:2]), (BOXES[2:], LABELS[2:]), NOTHING]
    targets = [detector.targets(*image) for image in images]
    optimizer = torch.optim.Adam(head.parameters(), lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(detector.loss_sums(head(maps), targets)).backward()
        optimizer.step()
    with torch.no_grad():
        raw = head(maps)
    for i, (boxes, labels) in enumerate(images[:2]):
        found = detector.found(raw[i])
        corners = torch.from_numpy(np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)).float()
        best = box_iou(corners, found.corners[:10])
        assert (best.max(1).values > 0.5).all()
        assert [int(found.classes[j]) for j in best.argmax(1)] == labels.tolist()
    assert detector.facts["anchors"]


@pytest.mark.parametrize("name", ["retinanet", "fcos"])
def test_torchvisions_heads_keep_its_own_anchors_and_thresholds(name: DetectorName) -> None:
    head, detector = made(name)
    assert isinstance(detector, TorchvisionDetector)
    cells = [8 * 8, 4 * 4, 2 * 2]
    each = 9 if name == "retinanet" else 1
    assert detector.counts == [n * each for n in cells]
    assert len(detector.places) == sum(detector.counts)
    maps = toy_maps()
    assert head(maps).shape == (3, sum(detector.counts), CLASSES + (4 if name == "retinanet" else 5))
    centres = (detector.places[: detector.counts[0], :2] + detector.places[: detector.counts[0], 2:]) / 2
    assert (centres % 8 == 0).all()
    found = detector.found(head.eval()(maps)[0].detach())
    assert len(found.scores) <= 100
    assert (found.scores >= detector.recipe.confidence).all()


def test_retinanets_loss_is_least_where_its_anchors_are_moved_onto_the_boxes() -> None:
    _, detector = made("retinanet")
    assert isinstance(detector, TorchvisionDetector)
    target = detector.targets(BOXES, LABELS)
    matched = detector.head.model.proposal_matcher(box_iou(target["boxes"], detector.places))
    coder: Any = detector.head.model.box_coder
    raw = torch.cat([torch.full((len(detector.places), CLASSES), -9.0), torch.zeros(len(detector.places), 4)], 1)
    for place, box in enumerate(matched.tolist()):
        if box >= 0:
            raw[place, CLASSES:] = coder.encode_single(target["boxes"][box, None], detector.places[place, None])[0]
            raw[place, int(LABELS[box])] = 9.0
    blank = torch.cat([torch.full_like(raw[:, :CLASSES], -9.0), torch.zeros_like(raw[:, CLASSES:])], 1)
    right, wrong = (loss_of(detector.loss_sums(numbers[None], [target])).item() for numbers in (raw, blank))
    assert right < 1e-3 < 1 < wrong
    found = detector.found(raw)
    assert (box_iou(target["boxes"], found.corners).max(1).values > 0.99).all()
    assert sorted(found.classes[:3].tolist()) == sorted(LABELS.tolist())
