"""What is written for an entry, and the embedding that its network has by another's code."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cxrbench.encoders.families.published.entry import PublishedEncoder


class Published(NamedTuple):
    """A file or folder, and what it gives for images [B, C, size, size]."""

    path: Path
    expected: Callable[[Tensor], Tensor]


def images_for(entry: PublishedEncoder) -> Tensor:
    """Random preprocessed images: as large as the encoder wants, or smaller where its network takes any size."""
    any_size = entry.loader in ("densenet", "biovil", "resnet") and "attention_pool" not in entry.options
    size = 96 if any_size else entry.preprocess.size
    generator = torch.Generator().manual_seed(5)
    return torch.randn(2 if size < 300 else 1, entry.preprocess.channels, size, size, generator=generator)


def scattered(module: nn.Module) -> Any:
    """The module in eval mode with weights that differ everywhere, batch statistics too."""
    generator = torch.Generator().manual_seed(1)
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            drawn = torch.randn(value.shape, generator=generator) * 0.1
            value.data.copy_(1 + drawn.abs() if "running_var" in name or "norm" in name or "bn" in name else drawn)
    return module.eval()


def write(folder: Path, content: Any, name: str = "weights.pth") -> Path:
    torch.save(content, folder / name)
    return folder / name


EXTRA = {"epoch": 3, "optimizer": {"state": {}, "param_groups": []}, "scheduler": {"last_epoch": 3}}
