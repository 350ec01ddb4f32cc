"""How I-JEPA's networks start (src/models/vision_transformer.py, ``_init_weights`` and ``fix_init_weight``)."""

import math

import torch
from torch import nn

STD = 0.02


@torch.no_grad()
def initialise_as_ijepa(network: nn.Module, blocks: nn.ModuleList, *, divided: bool) -> None:
    """Draw the weights of all Linear and Conv2d parts of ``network`` anew, from N(0, .02²); biases are 0.

    I-JEPA's normal is truncated, but at ±2, a hundred deviations. ``divided``: the weights of ``attn.proj`` and
    ``mlp.fc2`` of block l = 1, 2, ... of ``blocks`` are divided by sqrt(2 l). Layer norms stay 1 and 0.
    """
    for part in network.modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            nn.init.trunc_normal_(part.weight, std=STD)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    if divided:
        for number, block in enumerate(blocks, start=1):
            for matrix in (block.attn.proj, block.mlp.fc2):  # type: ignore[union-attr]
                matrix.weight.div_(math.sqrt(2 * number))  # type: ignore[union-attr,operator]
