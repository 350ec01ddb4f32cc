"""What one unit of training (an image, a study) costs in pretraining."""

import copy
from typing import NamedTuple

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cxrbench.encoders.pretraining.method import Batch, Draw, Objective


class StepCost(NamedTuple):
    """GFLOPs per unit (a multiply-add is two; GMAC are half of it)."""

    forward: float
    training: float


def step_cost(objective: Objective, batch: Batch) -> StepCost:
    """Count one forward and backward pass on a copy of the objective, operation by operation.

    ``batch``: on the CPU or, for an objective whose shapes do not hang on its data, on the meta device, where nothing
    is computed. Where units are alike, one will do; RadJEPA cuts contexts to the shortest of the batch, so that a large
    one costs less per image (ViT-B/16: 90 GFLOPs of 8 images, 72 of 2,048). Attention is counted as its plain matrix
    products; the fused kernels do the same work but are not all counted.
    """
    units, copied = len(batch.images), copy.deepcopy(objective)
    with torch.random.fork_rng(devices=[]), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        loss = copied(batch, Draw(torch.Generator().manual_seed(0))).value
        forward = counter.get_total_flops()
        loss.backward()
    return StepCost(forward / units / 1e9, counter.get_total_flops() / units / 1e9)
