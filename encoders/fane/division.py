"""FaNe's semantic division: which reports of a batch say the same thing, so that they are no negatives (eq. 1-5)."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-6

Similarity = Literal["normalised", "cosine"]


def centre_similarity(t: Tensor) -> Tensor:
    """ô of eq. 2: the mean cosine between unit rows t [B, C] and their mean p; that is ‖p‖, a scalar in [0, 1].

    Σ t_i·p / (B ‖p‖) = p·p / ‖p‖. (With a dot product instead of the cosine it would be ‖p‖², the mean of all pairs.)
    """
    return t.mean(dim=0).norm().clamp(max=1)


def normalised_similarity(cosines: Tensor, average: Tensor | float) -> Tensor:
    """S̃ = (S - o) / (1 - o + ε) of eq. 4: 0 at the average similarity o, never above 1."""
    return (cosines.clamp(max=1) - average) / (1 - average + EPSILON)


class SemanticDivision(nn.Module):
    """H [B, B], bool: pairs whose similarity, relative to what is usual, exceeds ``kappa``; the diagonal is forced.

    ``similarity``: S̃ (normalised), or S itself (cosine: the paper's Table 4, normalisation off), for which the
    memory is not needed and stays NaN.

    What is usual follows the batches: o_t = α ô_t + (1 - α) o_{t-1}, o_0 = ô_0. ``printed``: eq. 3 as the paper prints
    it, with ô_{t-1} on the right, which forgets everything but the last batch. The memory is a buffer, so it is in
    checkpoints; in the paper's code it is lost with the process. It moves in training mode only. It is the same in all
    processes: that of the joined batch where reports are gathered, else the first process's, which DDP hands to all.
    """

    memory: Tensor

    def __init__(
        self,
        kappa: float = 0.95,
        alpha: float = 0.05,
        ema: Literal["recursive", "printed"] = "recursive",
        similarity: Similarity = "normalised",
    ) -> None:
        super().__init__()
        self.kappa, self.alpha, self.ema, self.similarity = kappa, alpha, ema, similarity
        self.register_buffer("memory", torch.tensor(math.nan))  # before the first batch

    def forward(self, reports: Tensor) -> Tensor:
        """``reports``: [B, C] embeddings of all processes' reports, any length, no gradient. Returns H."""
        with torch.no_grad():
            t = F.normalize(reports.float(), dim=1)
            return divide(t @ t.T, self.average(t) if self.similarity == "normalised" else None, self.kappa)

    def average(self, t: Tensor) -> Tensor:
        """o_t, a scalar, of unit rows t [B, C]; the memory is moved on."""
        now = centre_similarity(t)
        before = torch.where(self.memory.isnan(), now, self.memory)
        average = self.alpha * now + (1 - self.alpha) * before
        if self.training:
            self.memory.copy_(now if self.ema == "printed" else average)
        return average


def divide(cosines: Tensor, average: Tensor | float | None, kappa: float) -> Tensor:
    """H = 1[S̃ > κ] (eq. 5): bool [B, B]; a report is always its own positive. Without an average H = 1[S > κ].

    The diagonal is set, as computed it would be lost where all reports are equal (o = 1, S̃ = 0) or where κ is 1.
    """
    similarity = cosines.clamp(max=1) if average is None else normalised_similarity(cosines, average)
    similarity.fill_diagonal_(kappa + 1)
    return similarity > kappa
