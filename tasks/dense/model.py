"""The model of a dense task: a head on the cached maps of a frozen encoder, or an encoder that is trained with it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Preprocess
from cxrbench.task import Cell, FrozenEncoder
from cxrbench.tasks.dense.whole_images import EncoderAndDecoder, WholeImages

ENCODER_RATE = 0.1
"""A fine-tuned encoder learns at this share of the head's rate."""

Head = Callable[[Sequence[int], Sequence[int], int], nn.Module]


@dataclass(frozen=True)
class DenseModel:
    """``module`` maps what ``inputs(rows, copy)`` gives of manifest rows to the head's numbers.

    ``preprocess``: how images come to the square that the head speaks of. ``groups``: parameters with their share of
    the learning rate; None where all of them learn at one.
    """

    module: nn.Module
    inputs: Callable[[NDArray[np.int64], int], tuple[Tensor, ...]]
    preprocess: Preprocess
    groups: list[dict[str, Any]] | None = None

    def __call__(self, rows: NDArray[np.int64], copy: int, device: torch.device) -> Tensor:
        """The head's numbers of manifest rows, float32 unless under autocast."""
        inputs = [
            x.to(device, torch.float32, memory_format=torch.channels_last, non_blocking=True)
            for x in self.inputs(rows, copy)
        ]
        return self.module(inputs)


def on_frozen_maps(
    encoder: FrozenEncoder, manifest: Manifest, copies: int, head: Head, levels: Sequence[int]
) -> DenseModel:
    """A head on ``levels`` of the maps: the encoder meets every image once, and each of its ``copies``."""
    maps = encoder.maps(manifest, copies)
    module = head(maps.widths, maps.sides, maps.preprocess.size).to(encoder.context.options.device)
    return DenseModel(module.to(memory_format=torch.channels_last), partial(maps.batch, levels=levels), maps.preprocess)


def finetuned(encoder: FrozenEncoder, manifest: Manifest, cell: Cell, head: Head) -> DenseModel:
    """A copy of the encoder that learns with its head, from images augmented anew each time.

    Raises NotApplicableError if the encoder has no parameters or no maps.
    """
    options = encoder.context.options
    images = WholeImages(manifest, encoder.module.preprocess, options, seed=cell.seed)
    whole = EncoderAndDecoder.of(
        encoder.module, images.preprocess, lambda widths, sides: head(widths, sides, images.preprocess.size)
    )
    groups: list[dict[str, Any]] = [
        {"params": list(whole.decoder.parameters()), "lr": 1.0},
        {"params": list(whole.encoder.parameters()), "lr": ENCODER_RATE},
    ]
    return DenseModel(whole.to(options.device), images.batch, images.preprocess, groups)
