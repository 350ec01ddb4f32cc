"""Losses of segmentation, each a function of sums over pixels.

Targets are coverages: uint8 [B, C, h, w], 0 outside to 254 inside, 255 where a pixel counts for nothing. Because a loss
is made of sums, that of a whole split does not depend on how it was cut into batches. Dice is taken over all pixels of
the batch (or split) at once, so empty images need no convention of their own here.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from cxrbench.tasks.dense.recipe import LossName

INSIDE = 254
IGNORE = 255
SMOOTH = 1.0
GAMMA = 2
FOCAL = 10.0
"""Weight of the focal loss beside Dice: GLoRIA's, MGCA's and FaNe's."""


@dataclass(frozen=True)
class PixelLoss:
    """``sums(logits [B, C, h, w], targets [B, C, h, w])`` -> [k, C]; ``of(sums)`` -> the loss, a scalar."""

    sums: Callable[[Tensor, Tensor], Tensor]
    of: Callable[[Tensor], Tensor]

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of one batch."""
        return self.of(self.sums(logits, targets))


def pixel_loss(name: LossName, *, exclusive: bool) -> PixelLoss:
    """A recipe's loss. Where classes exclude each other, the softmax takes the place of the sigmoids in each."""
    if name == "dice_bce":
        return dice_cross_entropy() if exclusive else dice_bce()
    if name == "cross_entropy":
        return cross_entropy() if exclusive else binary_cross_entropy()
    return focal_dice(exclusive=exclusive, logarithm=name == "10focal_logdice")


def binary_cross_entropy() -> PixelLoss:
    """Mean binary cross-entropy of a pixel, mean over labels. Independent labels, which may overlap."""

    def sums(logits: Tensor, targets: Tensor) -> Tensor:
        y, counts = _split(targets)
        entropy = F.binary_cross_entropy_with_logits(logits.float(), y, reduction="none")
        return torch.stack([_total(entropy * counts), _total(counts)])

    return PixelLoss(sums, lambda sums: (sums[0] / sums[1].clamp_min(1)).mean())


def focal_dice(*, exclusive: bool, logarithm: bool) -> PixelLoss:
    """10 mean focal loss of a pixel + (1 - soft Dice), or - log(soft Dice); mean over labels.

    Focal loss: (1 - p_t)^2 (- log p_t) without class weights, Lin et al. (2017), eq. 4. The first form is FaNe's text
    (A.4), the second is its and MGCA's code (``utils/segmentation_loss.py``, whose "dice_loss" is Dice itself). Where
    classes exclude each other, p_t is the softmax's, over background and classes.
    """

    def sums(logits: Tensor, targets: Tensor) -> Tensor:
        if exclusive:
            y, known = _with_background(targets)
            log_p = logits.float().log_softmax(1)
            focal = -(y * (1 - log_p.exp()) ** GAMMA * log_p).sum(1, keepdim=True)
            overlap = _overlap(log_p[:, 1:].exp(), y[:, 1:], known)
            return torch.cat(
                [torch.stack([_total(focal * known), _total(known)]).expand(-1, targets.shape[1]), torch.stack(overlap)]
            )
        y, counts = _split(targets)
        p = logits.float().sigmoid()
        entropy = F.binary_cross_entropy_with_logits(logits.float(), y, reduction="none")
        focal = (p * (1 - y) + (1 - p) * y) ** GAMMA * entropy
        return torch.stack([_total(focal * counts), _total(counts), *_overlap(p, y, counts)])

    def of(sums: Tensor) -> Tensor:
        focal, counts, *overlap = sums
        dice = _dice(*overlap)
        return (FOCAL * focal / counts.clamp_min(1) + (-dice.log() if logarithm else 1 - dice)).mean()

    return PixelLoss(sums, of)


def dice_of_masks(*, exclusive: bool) -> PixelLoss:
    """No loss, but made of sums as well: Dice of the masks that are predicted, over all pixels, mean over labels.

    A label that is neither shown nor predicted has Dice 1.
    """

    def sums(logits: Tensor, targets: Tensor) -> Tensor:
        if exclusive:
            y, known = _with_background(targets)
            chosen = F.one_hot(logits.argmax(1), logits.shape[1]).movedim(-1, 1)[:, 1:].float()
            return torch.stack(_overlap(chosen, (y[:, 1:] >= 0.5).float(), known))
        y, counts = _split(targets)
        return torch.stack(_overlap((logits >= 0).float(), (y >= 0.5).float(), counts))

    def of(sums: Tensor) -> Tensor:
        both, predicted, true = sums
        total = predicted + true
        return torch.where(total > 0, 2 * both / total.clamp_min(1), torch.ones_like(total)).mean()

    return PixelLoss(sums, of)


def dice_bce() -> PixelLoss:
    """Mean binary cross-entropy of a pixel + (1 - soft Dice), mean over labels. Independent labels.

    Soft Dice = (2 sum(p y) + 1) / (sum p + sum y + 1), Milletari et al. (2016) without the squares; the 1 keeps the
    gradient finite for a label without any true pixel.
    """

    def sums(logits: Tensor, targets: Tensor) -> Tensor:
        y, counts = _split(targets)
        entropy = F.binary_cross_entropy_with_logits(logits.float(), y, reduction="none")
        return torch.stack([_total(entropy * counts), _total(counts), *_overlap(logits.float().sigmoid(), y, counts)])

    def of(sums: Tensor) -> Tensor:
        entropy, counts, *overlap = sums
        return (entropy / counts.clamp_min(1) + 1 - _dice(*overlap)).mean()

    return PixelLoss(sums, of)


def cross_entropy() -> PixelLoss:
    """Mean cross-entropy of a pixel over background and classes: exclusive classes.

    Logits have one channel more than the targets: the background, first. Its coverage is what the classes leave. A
    pixel counts only if all of its classes do.
    """

    def sums(logits: Tensor, targets: Tensor) -> Tensor:
        y, known = _with_background(targets)
        entropy = -(y * logits.float().log_softmax(1)).sum(1, keepdim=True)
        return torch.stack([_total(entropy * known), _total(known)])

    return PixelLoss(sums, lambda sums: (sums[0] / sums[1].clamp_min(1)).mean())


def dice_cross_entropy() -> PixelLoss:
    """Cross-entropy + (1 - soft Dice), Dice being the mean over classes without the background, as in nnU-Net.

    Isensee et al. (2021). Cross-entropy alone is slow to find small classes.
    """

    def sums(logits: Tensor, targets: Tensor) -> Tensor:
        y, known = _with_background(targets)
        p = logits.float().softmax(1)
        overlap = _overlap(p[:, 1:], y[:, 1:], known)
        entropy = cross_entropy().sums(logits, targets).expand(-1, targets.shape[1])
        return torch.cat([entropy, torch.stack(overlap)])

    def of(sums: Tensor) -> Tensor:
        entropy, counts, *overlap = sums
        return (entropy / counts.clamp_min(1) + 1 - _dice(*overlap)).mean()

    return PixelLoss(sums, of)


def _split(targets: Tensor) -> tuple[Tensor, Tensor]:
    """Coverages in [0, 1] and whether each counts (1 or 0), float32."""
    counts = targets != IGNORE
    return targets.where(counts, torch.zeros_like(targets)).float() / INSIDE, counts.float()


def _with_background(targets: Tensor) -> tuple[Tensor, Tensor]:
    """Coverages [B, C + 1, h, w] with the background first, and which pixels count [B, 1, h, w]."""
    y, counts = _split(targets)
    return torch.cat([(1 - y.sum(1, keepdim=True)).clamp_min(0), y], 1), counts.amin(1, keepdim=True)


def _total(values: Tensor) -> Tensor:
    """[B, C, h, w] -> [C]."""
    return values.sum((0, 2, 3))


def _overlap(p: Tensor, y: Tensor, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return _total(p * y * counts), _total(p * counts), _total(y * counts)


def _dice(both: Tensor, predicted: Tensor, true: Tensor) -> Tensor:
    return (2 * both + SMOOTH) / (predicted + true + SMOOTH)
