"""What the blocks of a ViT attend to: written down while the network runs, in timm's own attention layers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from cxrbench.encoder import Attentions
from cxrbench.errors import NotApplicableError

ReadAt = Literal["cls", "mean"]


def recorded(network: nn.Module, run: Callable[[], object], grid: tuple[int, int], read_at: ReadAt) -> Attentions:
    """The attentions of timm's blocks in ``network`` while ``run`` calls it once.

    ``grid``: rows and columns of its patches; ``read_at``: where the embedding is read. Raises NotApplicableError.
    """
    blocks: list[Tensor] = []
    with _written_down(network, blocks):
        run()
    return checked(tuple(blocks), grid, read_at)


def checked(blocks: tuple[Tensor, ...], grid: tuple[int, int], read_at: ReadAt) -> Attentions:
    """Attentions, if every token of every block sees all others. Raises NotApplicableError else: windows, a CNN."""
    if not blocks:
        raise NotApplicableError("its network has no blocks that attend from patch to patch")
    shapes, patches = {tuple(block.shape[2:]) for block in blocks}, grid[0] * grid[1]
    tokens = blocks[0].shape[-1]
    if shapes != {(tokens, tokens)} or tokens < patches + (read_at == "cls"):
        raise NotApplicableError("its blocks do not let every patch look at every other, so no attention rolls out")
    read = torch.zeros(tokens, dtype=torch.float64, device=blocks[0].device)
    if read_at == "cls":
        read[0] = 1
    else:
        read[tokens - patches :] = 1 / patches
    return Attentions(blocks, grid, read)


@contextmanager
def _written_down(network: nn.Module, blocks: list[Tensor]) -> Iterator[None]:
    """What timm's attention layers give out after the softmax is appended, in the order in which they run.

    A fused kernel never has the matrix in memory, so it is turned off meanwhile; numbers move in the last bits.
    """
    layers: list[Any] = [m for m in network.modules() if hasattr(m, "fused_attn") and hasattr(m, "attn_drop")]
    fused = [layer.fused_attn for layer in layers]
    hooks = [layer.attn_drop.register_forward_hook(lambda _, __, weights: blocks.append(weights)) for layer in layers]
    try:
        for layer in layers:
            layer.fused_attn = False
        yield
    finally:
        for layer, before in zip(layers, fused, strict=True):
            layer.fused_attn = before
        for hook in hooks:
            hook.remove()
