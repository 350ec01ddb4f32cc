"""What a pretraining method is to the engine, and the two things that every method needs from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from cxrbench.encoder import Preprocess
from cxrbench.encoders.vit import ViT, ViTConfig


@dataclass(frozen=True)
class Draw:
    """The randomness of one step: a generator that all processes seed alike, and which share of the batch is ours.

    Every process draws for the whole batch and takes its own rows, so two processes of 128 images see what one process
    of 256 sees.
    """

    generator: torch.Generator
    rank: int = 0
    world: int = 1

    def rand(self, batch: int, *shape: int) -> Tensor:
        """Uniform numbers [batch, *shape] in [0, 1) for this process's ``batch`` images, on the generator's device."""
        whole = torch.rand(self.world * batch, *shape, generator=self.generator, device=self.generator.device)
        return whole[self.rank * batch : (self.rank + 1) * batch]


class Loss(NamedTuple):
    """``value``: the scalar to minimise; ``logged``: further scalars for the log."""

    value: Tensor
    logged: Mapping[str, Tensor]


class Objective(Protocol):
    """An ``nn.Module`` that holds a trunk and the loss that trains it. Only the trunk is kept in the end."""

    trunk: ViT
    preprocess: Preprocess

    def __call__(self, images: Tensor, draw: Draw) -> Loss:
        """The loss of a normalised batch [B, channels, size, size]; all randomness comes from ``draw``."""
        ...


@dataclass(frozen=True)
class Method:
    """What an entry point in group ``cxrbench.methods`` names.

    ``build`` makes the objective from the trunk's architecture and the method's own options, given as text or numbers
    by name; an unknown option is a UserError that lists the known ones. ``channels`` of its images.
    """

    name: str
    channels: int
    build: Callable[[ViTConfig, Mapping[str, Any]], Objective]
    options: Mapping[str, str]  # name -> one line of help


class _GatherBatch(torch.autograd.Function):
    """Concatenate every process's rows; in the backward pass give back our rows' gradient, times the processes."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        return grad_outputs[0].chunk(dist.get_world_size())[dist.get_rank()] * dist.get_world_size()


def gather_batch(rows: Tensor) -> Tensor:
    """Rows [B, ...] of every process, in rank order: [world · B, ...]. One process: the rows themselves.

    For losses that compare images: each process computes the whole loss of the joined batch. DDP then averages the
    processes' gradients, where it should add them, hence the factor in the backward pass: with it, W processes of B
    images train as one process of W · B images does, parameters of the loss (the logit scale) included.
    """
    return _GatherBatch.apply(rows) if dist.is_available() and dist.is_initialized() else rows  # type: ignore[return-value]
