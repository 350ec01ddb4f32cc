"""How the learning rate moves, and which parameters are decayed."""

import math
from collections.abc import Mapping

from torch import nn

DECAYED = 0  # index of the parameter group with weight decay


def learning_rate_factor(step: int, total: int, warmup: int, start: float = 0.0, final: float = 0.0) -> float:
    """Share of the peak learning rate at optimizer step ``step`` (from 0).

    Linear from ``start`` (itself left out) to 1 in ``warmup`` steps, then half a cosine to ``final``.
    """
    if step < warmup:
        return start + (1 - start) * (step + 1) / warmup
    return half_cosine(1.0, final, (step - warmup) / max(1, total - warmup))


def half_cosine(first: float, last: float, done: float) -> float:
    """From ``first`` to ``last`` along half a cosine; ``done`` in [0, 1] (more counts as 1)."""
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def parameter_groups(
    module: nn.Module, weight_decay: float, own_rates: Mapping[str, float] = {}
) -> list[dict[str, object]]:
    """AdamW's groups: matrices are decayed; biases, norms, scalars and tokens (all but one dimension 1) are not.

    Behind these two, each parameter that ``own_rates`` names with its peak learning rate is a group, and not decayed.
    """
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    own = [{"params": [trained.pop(name)], "weight_decay": 0.0, "lr": lr} for name, lr in own_rates.items()]
    decayed = [p for p in trained.values() if sum(side > 1 for side in p.shape) > 1]
    chosen = {id(p) for p in decayed}
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": [p for p in trained.values() if id(p) not in chosen], "weight_decay": 0.0},
        *own,
    ]
