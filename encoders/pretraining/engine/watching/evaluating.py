"""Looking at an objective while it is trained, so that training goes on as if nobody had looked."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cxrbench.encoders.pretraining.method import Objective

CHUNK = 64  # images at a time


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Everything in evaluation mode, without gradients, with random numbers of its own; afterwards all is as it was.

    Every part gets back the mode that it had: a frozen part of a network that trains is in evaluation mode anyway.
    """
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng():
            yield
    finally:
        for part, training in modes:
            part.training = training


def embed(objective: Objective, images: Tensor) -> dict[str, Tensor]:
    """``Objective.watched`` of images [n, channels, size, size], a few at a time: float32 [n, D], on the CPU."""
    with evaluating(objective):
        parts = [objective.watched(chunk) for chunk in images.split(CHUNK)]
    return {name: torch.cat([part[name].float().cpu() for part in parts]) for name in parts[0]}


def embedding_gflops(objective: Objective, images: Tensor) -> float:
    """GFLOPs of embedding one image with every network that is watched; images: two will do."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # as step_cost counts
        embed(objective, images)
    return counter.get_total_flops() / len(images) / 1e9
