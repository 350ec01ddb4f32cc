"""Segmentation losses against implementations that are not ours."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from segmentation_models_pytorch.losses import DiceLoss
from torch import Tensor
from torchmetrics.functional.classification import binary_f1_score
from torchvision.ops import sigmoid_focal_loss

from cxrbench.tasks.dense import losses
from cxrbench.tasks.dense.losses import (
    IGNORE,
    INSIDE,
    SMOOTH,
    cross_entropy,
    dice_bce,
    dice_cross_entropy,
    dice_of_masks,
    pixel_loss,
)


def batch(labels: int = 1, ignore: bool = False, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits [3, C, 6, 5] and hard targets (0, 254 and, if wanted, 255)."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, labels, 6, 5, generator=generator) * 2
    targets = (torch.rand(3, labels, 6, 5, generator=generator) < 0.4).to(torch.uint8) * INSIDE
    if ignore:
        targets[torch.rand(targets.shape, generator=generator) < 0.2] = IGNORE
    return logits, targets


def smp_dice(logits: Tensor, targets: Tensor) -> Tensor:
    hard = torch.where(targets == IGNORE, -1, (targets == INSIDE).long())
    # theirs is (I + s) / (I + half of the errors + s), so ours with twice their s
    return DiceLoss("binary", smooth=SMOOTH / 2, eps=0.0, ignore_index=-1)(logits, hard)


@pytest.mark.parametrize("ignore", [False, True])
def test_dice_and_cross_entropy(ignore: bool) -> None:
    logits, targets = batch(ignore=ignore)
    known = targets != IGNORE
    entropy = F.binary_cross_entropy_with_logits(logits[known], (targets[known] == INSIDE).float())
    torch.testing.assert_close(dice_bce()(logits, targets), entropy + smp_dice(logits, targets))


@pytest.mark.parametrize("ignore", [False, True])
def test_cross_entropy_of_exclusive_classes(ignore: bool) -> None:
    logits = torch.randn(3, 4, 6, 5, generator=torch.Generator().manual_seed(1))
    index = torch.randint(0, 4, (3, 6, 5), generator=torch.Generator().manual_seed(2))
    targets = torch.stack([(index == k).to(torch.uint8) * INSIDE for k in (1, 2, 3)], 1)
    if ignore:
        index[:, 2:4] = -100
        targets[:, :, 2:4] = IGNORE
    entropy = F.cross_entropy(logits, index)
    torch.testing.assert_close(cross_entropy()(logits, targets), entropy)
    dice = DiceLoss("multiclass", classes=[1, 2, 3], smooth=SMOOTH / 2, eps=0.0, ignore_index=-100)(logits, index)
    torch.testing.assert_close(dice_cross_entropy()(logits, targets), entropy + dice)


def test_partly_covered_pixels_are_soft_targets() -> None:
    logits = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    cover = torch.tensor([100, 50], dtype=torch.uint8)[None, :, None, None].expand(2, 2, 4, 4)
    soft = torch.tensor([104, 100, 50])[None, :, None, None].expand(2, 3, 4, 4) / INSIDE
    torch.testing.assert_close(cross_entropy()(logits, cover), F.cross_entropy(logits, soft))
    y = cover[:, :1] / INSIDE
    sums = dice_bce().sums(logits[:, :1], cover[:, :1])
    torch.testing.assert_close(sums[0, 0] / sums[1, 0], F.binary_cross_entropy_with_logits(logits[:, :1], y))


@pytest.mark.parametrize("name", ["dice_bce", "cross_entropy", "dice_cross_entropy"])
def test_the_loss_of_a_split_does_not_depend_on_the_batches(name: str) -> None:
    loss = getattr(losses, name)()
    logits, targets = batch(labels=2, ignore=True)
    if "cross_entropy" in name:
        logits = torch.cat([logits, logits[:, :1]], 1)
    parts = sum(loss.sums(logits[i : i + 1], targets[i : i + 1]) for i in range(3))
    torch.testing.assert_close(loss.of(parts), loss(logits, targets))


def test_a_label_without_true_pixels_has_a_finite_gradient() -> None:
    logits = torch.full((2, 1, 8, 8), -30.0, requires_grad=True)
    loss = dice_bce()
    loss(logits, torch.zeros(2, 1, 8, 8, dtype=torch.uint8)).backward()
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())
    ignored = torch.full((2, 1, 8, 8), IGNORE, dtype=torch.uint8)
    assert np.isfinite(loss(logits, ignored).item())


@pytest.mark.parametrize("ignore", [False, True])
def test_focal_and_dice(ignore: bool) -> None:
    """10 focal + (1 - Dice), FaNe's text; 10 focal - log Dice, MGCA's code."""
    logits, targets = batch(ignore=ignore)
    known = targets != IGNORE
    focal = sigmoid_focal_loss(logits[known], (targets[known] == INSIDE).float(), alpha=-1, gamma=2, reduction="mean")
    one_minus_dice = smp_dice(logits, targets)
    torch.testing.assert_close(pixel_loss("focal_dice", exclusive=False)(logits, targets), 10 * focal + one_minus_dice)
    logged = pixel_loss("10focal_logdice", exclusive=False)(logits, targets)
    torch.testing.assert_close(logged, 10 * focal - torch.log(1 - one_minus_dice))


def test_binary_cross_entropy_of_labels_that_overlap() -> None:
    logits, targets = batch(labels=3)
    expected = F.binary_cross_entropy_with_logits(logits, targets.float() / INSIDE)
    torch.testing.assert_close(pixel_loss("cross_entropy", exclusive=False)(logits, targets), expected)


def test_focal_loss_of_two_exclusive_classes_is_that_of_one_sigmoid() -> None:
    logits, targets = batch()
    both = torch.cat([torch.zeros_like(logits), logits], 1)
    for name in ("focal_dice", "10focal_logdice"):
        binary = pixel_loss(name, exclusive=False)(logits, targets)
        torch.testing.assert_close(pixel_loss(name, exclusive=True)(both, targets), binary)


@pytest.mark.parametrize("exclusive", [False, True])
def test_dice_of_masks_is_f1_of_pixels(exclusive: bool) -> None:
    logits, targets = batch(ignore=True)
    known = targets != IGNORE
    expected = binary_f1_score(logits[known].sigmoid(), (targets[known] == INSIDE).long())
    given = torch.cat([torch.zeros_like(logits), logits], 1) if exclusive else logits
    torch.testing.assert_close(dice_of_masks(exclusive=exclusive)(given, targets), expected)
    nothing = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    assert dice_of_masks(exclusive=False)(torch.full((2, 1, 4, 4), -1.0), nothing) == 1
