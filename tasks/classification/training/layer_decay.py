"""Layer-wise learning-rate decay: the deeper the layer, the less it is moved.

Clark et al. (ELECTRA, 2020); Bao et al. (BEiT, 2021); He et al. (MAE, 2022): layer i of n has the learning rate times
decay^(n - i): patch embedding, tokens and positions are layer 0, block i is layer i + 1, and whatever follows the
blocks (the last norm, the head) is layer n. A CNN's stages take the place of the blocks.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from torch import nn

# blocks.3, encoder.layer.3, resblocks.3 (transformers); layer3, stages.3, features.3, denseblock3 (CNNs)
BACKBONE = re.compile(r"^(.*?(?:layers?|stages?|blocks?|features)[._]?)(\d+)(?=\.)")
TOKENS = ("pos_embed", "cls_token", "dist_token", "reg_token", "mask_token", "position_embeddings", "class_embedding")


def layer_of(module: nn.Module) -> tuple[Mapping[str, int], int]:
    """The layer of each parameter by name, and the layer n of all that follows the backbone.

    The backbone is the numbered list (of blocks, of stages) that holds most parameters. What is registered before it is
    layer 0, what is registered between two of its members belongs to the earlier one.
    """
    matches = {name: BACKBONE.match(name) for name, _ in module.named_parameters()}
    weight: Counter[str] = Counter()
    for name, parameter in module.named_parameters():
        if match := matches[name]:
            weight[match[1]] += parameter.numel()
    if not weight:
        return dict.fromkeys(matches, 0), 1
    backbone = weight.most_common(1)[0][0]
    in_backbone = {name: int(match[2]) for name, match in matches.items() if match and match[1] == backbone}
    rank = {number: i + 1 for i, number in enumerate(sorted(set(in_backbone.values())))}
    last = list(in_backbone)[-1]
    layers: dict[str, int] = {}
    current, after = 0, False
    for name in matches:
        current = rank[in_backbone[name]] if name in in_backbone else current
        layers[name] = len(rank) + 1 if after and name not in in_backbone else current
        after = after or name == last
    return layers, len(rank) + 1


def layer_decay_groups(
    encoder: nn.Module,
    head: nn.Module,
    *,
    layer_decay: float,
    weight_decay: float,
    decay_all: bool = False,
    undecayed: Collection[str] = TOKENS,
) -> list[dict[str, Any]]:
    """Optimizer groups with ``lr_scale`` and ``weight_decay`` for the parameters that are trained.

    Vectors and scalars (norms, biases) and the tokens named in ``undecayed`` have no weight decay, unless
    ``decay_all``.
    """
    layers, top = layer_of(encoder)
    named = [(name, parameter, layers[name]) for name, parameter in encoder.named_parameters()]
    named += [(name, parameter, top) for name, parameter in head.named_parameters()]
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter, layer in named:
        if not parameter.requires_grad:
            continue
        free = not decay_all and (parameter.ndim <= 1 or name.rpartition(".")[2] in undecayed)
        facts = {"lr_scale": layer_decay ** (top - layer), "weight_decay": 0.0 if free else weight_decay, "params": []}
        groups.setdefault((layer, free), facts)["params"].append(parameter)
    return list(groups.values())
