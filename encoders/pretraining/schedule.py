"""How the learning rate moves, and which parameters are decayed."""

import math
from collections.abc import Callable, Mapping

from torch import Tensor, nn

from cxrbench.encoders.pretraining.recipe import Decayed

DECAYED = 0  # index of the parameter group with weight decay

# Which of the parameters are decayed. timm's rule, which OCL, MAE and I-JEPA follow, goes by the number of dimensions:
# it decays tokens [1, 1, D], too.
RULES: Mapping[Decayed, Callable[[str, Tensor], bool]] = {
    "matrices": lambda name, p: sum(side > 1 for side in p.shape) > 1,
    "matrices+tokens": lambda name, p: p.ndim > 1 and not name.endswith("bias"),
    "all": lambda name, p: True,
}


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
    module: nn.Module, weight_decay: float, decayed: Decayed = "matrices", own_rates: Mapping[str, float] = {}
) -> list[dict[str, object]]:
    """AdamW's groups of what is trained: the parameters that ``decayed`` means, and those that are not decayed.

    Behind these two, each parameter that ``own_rates`` names with its peak learning rate is a group, and not decayed.
    """
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    own = [{"params": [trained.pop(name)], "weight_decay": 0.0, "lr": lr} for name, lr in own_rates.items()]
    chosen = RULES[decayed]
    return [
        {"params": [p for name, p in trained.items() if chosen(name, p)], "weight_decay": weight_decay},
        {"params": [p for name, p in trained.items() if not chosen(name, p)], "weight_decay": 0.0},
        *own,
    ]
