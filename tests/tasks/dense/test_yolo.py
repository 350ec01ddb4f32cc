"""YOLOv3's head: anchors, the grid of places, targets, loss and decoding."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torch import nn
from torchvision.ops import box_iou, complete_box_iou_loss

from cxrbench.tasks.dense.detectors.anchors import anchors, shape_iou
from cxrbench.tasks.dense.detectors.detector import MAX_DETECTIONS, loss_of
from cxrbench.tasks.dense.detectors.yolo import BOX, LEVELS, PER_CELL, Grid, YoloHead, detections
from cxrbench.tasks.dense.detectors.yolo_loss import BOX_WEIGHT, IGNORED_IOU, Targets, loss_sums
from cxrbench.tasks.dense.recipe import NMS
from cxrbench.tasks.dense.training import seeded

SHAPES = np.array([[4, 5], [6, 4], [8, 8], [12, 10], [10, 16], [18, 18], [25, 20], [22, 35], [40, 40]], float)
GRID = Grid(64, SHAPES)
BOXES = np.array([[3, 5, 8, 8], [30, 20, 24, 36], [50, 1, 10, 15]], float)
LABELS = np.array([0, 1, 1])


def test_shape_iou_equals_torchvision() -> None:
    rng = np.random.default_rng(0)
    shapes, others = rng.uniform(1, 50, (7, 2)), rng.uniform(1, 50, (5, 2))
    first, second = (torch.from_numpy(np.concatenate([-s / 2, s / 2], 1)) for s in (shapes, others))
    np.testing.assert_allclose(shape_iou(shapes, others), box_iou(first, second).numpy())


def test_anchors_find_planted_shapes_and_fit_better_than_euclidean_means() -> None:
    rng = np.random.default_rng(1)
    shapes = np.repeat(SHAPES, 40, axis=0) * rng.normal(1, 0.02, (360, 2))
    found = anchors(shapes, np.random.default_rng(0))
    assert (np.diff(found.prod(1)) >= 0).all()
    np.testing.assert_allclose(found, SHAPES[np.argsort(SHAPES.prod(1))], rtol=0.05)
    spread = rng.lognormal(3, 0.7, (400, 2))
    euclidean = KMeans(9, random_state=0).fit(spread).cluster_centers_
    mine = anchors(spread, np.random.default_rng(0))
    assert shape_iou(spread, mine).max(1).mean() > shape_iou(spread, euclidean).max(1).mean()


def test_anchors_of_few_boxes_are_those_boxes() -> None:
    shapes = np.array([[10.0, 20.0], [30.0, 30.0]])
    found = anchors(shapes, np.random.default_rng(0))
    assert found.shape == (9, 2)
    assert set(map(tuple, found.tolist())) == {(10, 20), (30, 30)}


@pytest.mark.parametrize(("sides", "size"), [((16, 8, 4, 2), 64), ((5,) * 4, 70), ((4,) * 4, 64)])
def test_the_heads_numbers_lie_where_the_grid_says(sides: tuple[int, ...], size: int) -> None:
    """Each prediction map, cell by cell, against the flat order of the Grid; training reaches every parameter."""
    classes, grid = 2, Grid(size, SHAPES)
    with seeded(0, torch.device("cpu")):
        head = YoloHead((3, 4, 5, 6), sides, size, classes, width=8)
        maps = [torch.randn(2, width, side, side) for width, side in zip((3, 4, 5, 6), sides, strict=True)]
    seen: dict[int, torch.Tensor] = {}
    for i, layer in enumerate(head.predictions):
        layer.register_forward_hook(lambda _m, _x, y, i=i: seen.update({i: y}))
    raw = head(maps)
    assert raw.shape == (2, len(grid.cells), BOX + classes)
    for level, side in enumerate(grid.sides):
        assert seen[level].shape[-2:] == (side, side)
        for row, column, shape in [(0, 0, 0), (side - 1, 0, 2), (0, side - 1, 1), (side // 2, side - 1, 2)]:
            pitch = size / side
            place = grid.place(level * PER_CELL + shape, (column + 0.5) * pitch, (row + 0.5) * pitch)
            per_anchor = seen[level][1, :, row, column].reshape(PER_CELL, -1)
            torch.testing.assert_close(raw[1, place], per_anchor[shape])
            expected = [column * pitch, row * pitch, pitch, *SHAPES[level * PER_CELL + shape]]
            torch.testing.assert_close(grid.cells[place], torch.tensor(expected).float())
    raw.square().mean().backward()
    assert not [name for name, p in head.named_parameters() if p.grad is None or not p.grad.any()]
    head.eval()
    torch.testing.assert_close(head(maps), head([maps[level] for level in LEVELS]))


def perfect(targets: Targets, classes: int) -> torch.Tensor:
    """Numbers that say exactly what the targets want."""
    raw = torch.full((len(GRID.cells), BOX + classes), -20.0)
    raw[:, :4] = 0
    cells = GRID.cells[targets.places]
    centre, sides = (targets.boxes[:, :2] + targets.boxes[:, 2:]) / 2, targets.boxes[:, 2:] - targets.boxes[:, :2]
    raw[targets.places, :2] = torch.logit((centre - cells[:, :2]) / cells[:, 2:3])
    raw[targets.places, 2:4] = (sides / cells[:, 3:]).log()
    raw[targets.places, BOX - 1] = 20.0
    raw[targets.places, BOX:] = targets.classes * 40 - 20
    return raw


def test_perfect_numbers_have_no_loss_and_give_the_boxes_back() -> None:
    targets = Targets.of(BOXES, LABELS, GRID, 2)
    raw = perfect(targets, 2)
    sums = loss_sums(raw[None], [targets], GRID)
    assert sums[1] == len(targets.places)
    assert loss_of(sums).item() == pytest.approx(0, abs=1e-4)
    found = detections(raw, GRID)
    assert found.scores.tolist() == pytest.approx([1.0] * 3)
    order = found.corners[:, 0].argsort()
    np.testing.assert_allclose(found.corners[order][:, :2], BOXES[:, :2][[0, 1, 2]], atol=1e-3)
    np.testing.assert_allclose(found.corners[order][:, 2:], BOXES[:, :2] + BOXES[:, 2:], atol=1e-3)
    assert found.classes[order].tolist() == LABELS.tolist()


def test_a_box_belongs_to_the_shapes_that_fit_in_its_centres_cell() -> None:
    targets = Targets.of(BOXES, LABELS, GRID, 2)
    cells = GRID.cells[targets.places]
    centres = (targets.boxes[:, :2] + targets.boxes[:, 2:]) / 2
    assert ((centres >= cells[:, :2]) & (centres < cells[:, :2] + cells[:, 2:3])).all()
    fits = shape_iou(BOXES[:, 2:], SHAPES)
    wanted = (fits > 0.5) | (fits == fits.max(1, keepdims=True))
    assert len(targets.places) == wanted.sum() > len(BOXES)
    found = {(*box[2:].tolist(), *cell[3:].tolist()) for box, cell in zip(targets.boxes, cells, strict=True)}
    ends = BOXES[:, :2] + BOXES[:, 2:]
    assert found == {(*ends[box], *SHAPES[anchor]) for box, anchor in np.argwhere(wanted)}
    lonely = Targets.of(np.array([[0, 0, 64, 3.0]]), np.array([0]), GRID, 2)
    assert len(lonely.places) == 1


def test_boxes_that_want_one_place_share_it() -> None:
    twice = np.array([[3, 5, 8, 8], [3.5, 5, 8, 8]])
    targets = Targets.of(twice, np.array([0, 1]), GRID, 2)
    alone = Targets.of(twice[:1], np.array([0]), GRID, 2)
    assert targets.places.tolist() == alone.places.tolist()
    assert targets.classes.unique().tolist() == [1]
    assert targets.boxes[:, 0].unique().tolist() == [3.5]
    assert len(targets.corners) == 2


def test_the_loss_equals_a_loop_over_places() -> None:
    generator = torch.Generator().manual_seed(0)
    targets = [Targets.of(BOXES, LABELS, GRID, 2), Targets.of(BOXES[:0], LABELS[:0], GRID, 2)]
    raw = torch.randn((2, len(GRID.cells), BOX + 2), generator=generator)
    beside = GRID.place(0, 38, 38)  # a small shape, a cell beside the second box's centre, that grows to that box
    raw[0, beside, :4] = torch.tensor([5.0, np.log(3), np.log(24 / 4), np.log(36 / 5)])
    total, ignored, places = torch.zeros(()), 0, len(targets[0].places)
    for numbers, target in zip(raw, targets, strict=True):
        at = {int(place): row for row, place in enumerate(target.places)}
        for place, number in enumerate(numbers):
            box = GRID.boxes(number, GRID.cells[place])
            near = len(target.corners) > 0 and bool(box_iou(box[None], target.corners).max() > IGNORED_IOU)
            if place in at:
                row = at[place]
                ciou = complete_box_iou_loss(box[None], target.boxes[row][None], reduction="sum")
                total += F.softplus(-number[BOX - 1]) + BOX_WEIGHT * ciou
                total += F.binary_cross_entropy_with_logits(number[BOX:], target.classes[row], reduction="sum")
            elif not near:
                total += F.softplus(number[BOX - 1])
            ignored += near and place not in at
    sums = loss_sums(raw, targets, GRID)
    assert ignored > 0
    torch.testing.assert_close(sums, torch.stack([total, torch.tensor(float(places))]))
    torch.testing.assert_close(loss_of(sums), total / places)


def test_images_without_boxes_have_a_finite_loss() -> None:
    nothing = Targets.of(BOXES[:0], LABELS[:0], GRID, 2)
    raw = nn.Parameter(torch.randn(2, len(GRID.cells), BOX + 2))
    loss = loss_of(loss_sums(raw, [nothing, nothing], GRID))
    loss.backward()
    assert loss.isfinite()
    assert raw.grad is not None
    assert raw.grad.isfinite().all()


def test_detections_are_few_apart_sorted_and_inside() -> None:
    raw = torch.randn((len(GRID.cells), BOX + 2), generator=torch.Generator().manual_seed(1)) * 2
    found = detections(raw, GRID)
    assert 10 < len(found.scores) <= MAX_DETECTIONS
    assert (found.scores.diff() <= 0).all()
    assert found.corners.min() >= 0
    assert found.corners.max() <= GRID.size
    for label in (0, 1):
        of_label = found.corners[found.classes == label]
        overlaps = box_iou(of_label, of_label).fill_diagonal_(0)
        assert overlaps.max() <= NMS
    assert len(detections(raw - 30, GRID).scores) == 0
