"""A network that follows another one slowly: the exponential moving average of its weights."""

import copy
from typing import Any

import torch
from torch import Tensor, nn


def linear_momentum(first: float, last: float, progress: float) -> float:
    """τ on its way from ``first`` to ``last``, linear in the share of the run that is done (clamped to [0, 1])."""
    return first + (last - first) * min(1.0, max(0.0, progress))


class MovingAverage(nn.Module):
    """θ' ← τ θ' + (1 - τ) θ of a module's parameters, which starts as its copy; buffers are copied every time.

    The average is float32 whatever the source is: in bfloat16, with its 8 bits, a step of (1 - .996) of a difference
    would be rounded away. It has no gradients, and calling it is calling the averaged module.
    """

    def __init__(self, source: nn.Module) -> None:
        super().__init__()
        self.module = copy.deepcopy(source).float().requires_grad_(False)

    @torch.no_grad()
    def update(self, source: nn.Module, momentum: float) -> None:
        """Follow ``source``, a module of the same shape. τ = 1: nothing moves; τ = 0: a copy."""
        pairs = list(zip(self.module.parameters(), source.parameters(), strict=True))
        averages: list[Tensor] = [average for average, _ in pairs]
        current = [now.to(old.device, old.dtype) for old, now in pairs]
        torch._foreach_lerp_(averages, current, 1 - momentum)  # type: ignore[reportPrivateImportUsage]
        for average, now in zip(self.module.buffers(), source.buffers(), strict=True):
            average.copy_(now)

    def forward(self, *arguments: Any) -> Any:
        """The averaged module's output, without gradients."""
        with torch.no_grad():
            return self.module(*arguments)
