"""torchvision's ResNets in published files: one channel or three, enlarged images, other pools than the mean."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from open_clip.modified_resnet import AttentionPool2d
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from cxrbench.encoder import EncoderCard, Features, Preprocess
from cxrbench.encoders.families.layouts.files import encoder_state
from cxrbench.encoders.families.published.entry import PublishedEncoder
from cxrbench.errors import UserError
from cxrbench.files.checkpoints import leave_out, load_strict, read_state_dict

CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
"""Numbers of a ResNet's parts in a torch.nn.Sequential of them."""


class ResNetEncoder(nn.Module):
    """A ResNet. ``pooled``: the mean over the last stage, or its attention pool; ``maps``: the four stages.

    ``enlarged``: pixels that images are enlarged to first, bilinearly with corners aligned (GLoRIA, MGCA). ``stages``:
    3 for a network that ends there (MedKLIP), which has no maps; ``mlp``: what each of its places goes through.
    """

    thread_safe = True

    def __init__(
        self, backbone: ResNet, preprocess: Preprocess, card: EncoderCard, enlarged: int = 0, stages: int = 4
    ) -> None:
        super().__init__()
        self.backbone, self.preprocess, self.card = backbone, preprocess, card
        self.enlarged, self.stages = enlarged, stages
        self.pool: nn.Module | None = None
        self.mlp: nn.Module | None = None

    def forward(self, images: Tensor) -> Features:
        """Embed [B, channels, size, size]."""
        if self.enlarged:
            images = F.interpolate(images, (self.enlarged, self.enlarged), mode="bilinear", align_corners=True)
        maps = stages_of(self.backbone, images)[: self.stages]
        x = maps[-1]
        if self.mlp is not None:
            return Features(self.mlp(x.flatten(2).transpose(1, 2)).mean(dim=1))
        return Features(x.mean(dim=(2, 3)) if self.pool is None else self.pool(x), maps)


def load(entry: PublishedEncoder, path: Path) -> ResNetEncoder:
    """The encoder of a published ResNet's file. Raises UserError where the weights do not fit."""
    options = entry.options
    state = leave_out(encoder_state(entry, path), ("fc.", "classifier."), path)
    if options.get("sequential"):
        state = {_named(name): value for name, value in state.items()}
    stages = options.get("stages", 4)
    backbone = build_resnet(state, path, stages)
    load_strict(backbone, state, path)
    encoder = ResNetEncoder(backbone, entry.preprocess, entry.card, options.get("enlarged", 0), stages)
    if "mlp" in options:
        encoder.mlp = _places_mlp(entry, path)
    if "attention_pool" in options:
        encoder.pool = _attention_pool(entry, path)
    return encoder


def stages_of(net: ResNet, images: Tensor) -> tuple[Tensor, ...]:
    """The outputs of a ResNet's four stages (of an identity what it is given) for [B, channels, H, W]."""
    x = net.maxpool(net.relu(net.bn1(net.conv1(images))))
    maps = []
    for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
        x = stage(x)
        maps.append(x)
    return tuple(maps)


def build_resnet(state: Mapping[str, Tensor], path: object, stages: int = 4) -> ResNet:
    """An untrained ResNet of the weights' shape, without classifier. Raises UserError if they are of none."""
    blocks = [len({name.split(".")[1] for name in state if name.startswith(f"layer{k}.")}) for k in range(1, 5)]
    if not all(blocks[:stages]) or "conv1.weight" not in state:
        raise UserError(f"{path} holds no ResNet (conv1., layer1. ...); its names begin {', '.join(sorted(state)[:4])}")
    bottleneck = "layer1.0.conv3.weight" in state
    net: Any = ResNet(Bottleneck if bottleneck else BasicBlock, [max(1, count) for count in blocks])
    net.fc = nn.Identity()
    if stages == 3:
        net.layer4 = nn.Identity()
    kernel = state["conv1.weight"]
    net.conv1 = nn.Conv2d(kernel.shape[1], kernel.shape[0], kernel.shape[2:], stride=2, padding=3, bias=False)  # type: ignore[arg-type]
    return net


def _named(name: str) -> str:
    """``4.0.conv1.weight`` as ``layer1.0.conv1.weight``."""
    first, _, rest = name.partition(".")
    return f"{CHILDREN.get(first, first)}.{rest}"


def _places_mlp(entry: PublishedEncoder, path: Path) -> nn.Sequential:
    """MedKLIP's two layers, from the whole file."""
    whole = read_state_dict(path, ["model"])
    layers: list[nn.Module] = []
    for name in entry.options["mlp"]:
        weights = {part: whole[key] for part in ("weight", "bias") if (key := f"{name}.{part}") in whole}
        if len(weights) < 2:
            raise UserError(f"{path} lacks {name}: is it {entry.title}'s file?")
        layers += [nn.Linear(*reversed(weights["weight"].shape)), nn.ReLU()]  # type: ignore[arg-type]
        load_strict(layers[-2], weights, path)
    return nn.Sequential(*layers[:-1])


def _attention_pool(entry: PublishedEncoder, path: Path) -> AttentionPool2d:
    """CLIP's attention pool, from the whole file."""
    prefix = entry.options["attention_pool"]
    state = {n.removeprefix(prefix): t for n, t in read_state_dict(path).items() if n.startswith(prefix)}
    if "positional_embedding" not in state:
        raise UserError(f"{path} lacks {prefix}positional_embedding: is it {entry.title}'s file?")
    places, width = state["positional_embedding"].shape
    pool = AttentionPool2d(round((places - 1) ** 0.5), width, entry.options["heads"])
    load_strict(pool, state, path)
    return pool
