"""What one image costs in pretraining."""

import copy
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cxrbench.encoders.method import Draw, Objective


class StepCost(NamedTuple):
    """GFLOPs per image (a multiply-add is two; GMAC are half of it)."""

    forward: float
    training: float


def step_cost(objective: Objective, batch: int = 8) -> StepCost:
    """Count the objective's own forward and backward pass, operation by operation, on the meta device: no arithmetic.

    Attention is counted as its plain matrix products; the fused kernels do the same work but are not all counted.
    """
    if not isinstance(objective, nn.Module):
        raise TypeError("an objective is an nn.Module")
    pre = objective.preprocess
    images = torch.empty(batch, pre.channels, pre.size, pre.size, device="meta")
    copied = copy.deepcopy(objective).to("meta")
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        loss = copied(images, Draw(torch.Generator())).value
        forward = counter.get_total_flops()
        loss.backward()
    return StepCost(forward / batch / 1e9, counter.get_total_flops() / batch / 1e9)
