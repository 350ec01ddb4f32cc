"""How the learning rate moves, and which parameters are decayed."""

import math

from torch import nn


def learning_rate_factor(step: int, total: int, warmup: int) -> float:
    """Share of the peak learning rate at optimiser step ``step`` (from 0): linear warm-up, then half a cosine to 0."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Two AdamW groups: matrices are decayed; biases, norms, scalars and tokens (all but one dimension 1) are not."""
    trained = [p for p in module.parameters() if p.requires_grad]
    decayed = [p for p in trained if sum(side > 1 for side in p.shape) > 1]
    chosen = {id(p) for p in decayed}
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": [p for p in trained if id(p) not in chosen], "weight_decay": 0.0},
    ]
