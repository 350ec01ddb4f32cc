"""torchvision's DenseNets as torchxrayvision keeps them: one channel, ``features.*`` and ``classifier``."""

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.densenet import DenseNet

from cxrbench.encoder import EncoderCard, Features, Preprocess
from cxrbench.encoders.families.layouts.files import encoder_state
from cxrbench.encoders.families.published.entry import PublishedEncoder
from cxrbench.errors import UserError
from cxrbench.files.checkpoints import leave_out, load_strict


class DenseNetEncoder(nn.Module):
    """A DenseNet. ``pooled``: the mean over the last block after norm and ReLU; ``maps``: the four blocks."""

    thread_safe = True

    def __init__(self, features: nn.Sequential, preprocess: Preprocess, card: EncoderCard) -> None:
        super().__init__()
        self.features, self.preprocess, self.card = features, preprocess, card

    def forward(self, images: Tensor) -> Features:
        """Embed [B, channels, size, size]."""
        x, maps = images, []
        for name, part in self.features.named_children():
            x = part(x)
            if name.startswith("denseblock"):
                maps.append(x)
        return Features(F.relu(x).mean(dim=(2, 3)), tuple(maps))


def load(entry: PublishedEncoder, path: Path) -> DenseNetEncoder:
    """The encoder of a state dict that torchxrayvision wrote. Raises UserError where the weights do not fit."""
    state = leave_out(encoder_state(entry, path), ("classifier.", "op_threshs"), path)
    blocks = [len({n.split(".")[2] for n in state if n.startswith(f"features.denseblock{k}.")}) for k in range(1, 5)]
    if not all(blocks) or "features.conv0.weight" not in state:
        raise UserError(f"{path} holds no DenseNet (features.conv0., features.denseblock1. ...): {entry.refused}")
    kernel = state["features.conv0.weight"]
    first = "features.denseblock1.denselayer1"
    growth = len(state[f"{first}.conv2.weight"])
    bottleneck = len(state[f"{first}.conv1.weight"]) // growth
    net = DenseNet(growth, tuple(blocks), len(kernel), bottleneck)  # type: ignore[arg-type]
    net.features.conv0 = nn.Conv2d(kernel.shape[1], len(kernel), 7, stride=2, padding=3, bias=False)
    load_strict(net.features, {name.removeprefix("features."): value for name, value in state.items()}, path)
    return DenseNetEncoder(net.features, entry.preprocess, entry.card)
