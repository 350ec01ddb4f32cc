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

INSIDE = 254
IGNORE = 255
SMOOTH = 1.0


@dataclass(frozen=True)
class PixelLoss:
    """``sums(logits [B, C, h, w], targets [B, C, h, w])`` -> [k, C]; ``of(sums)`` -> the loss, a scalar."""

    sums: Callable[[Tensor, Tensor], Tensor]
    of: Callable[[Tensor], Tensor]

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of one batch."""
        return self.of(self.sums(logits, targets))


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
