"""The model of a dense protocol: a head on the cached maps of a frozen encoder, or an encoder trained with it."""

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cxrbench.data.decode.preprocess import load_image
from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Encoder, Preprocess
from cxrbench.errors import NotApplicableError
from cxrbench.features.augmentation import augmentation
from cxrbench.features.extract import ExtractOptions
from cxrbench.features.maps.dense import dense_preprocess
from cxrbench.task import Cell, FrozenEncoder
from cxrbench.tasks.blank_image import features_of_blank

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


class WholeImages:
    """Images of manifest rows as an encoder wants them, decoded when asked for, augmented on the fly."""

    def __init__(self, manifest: Manifest, preprocess: Preprocess, options: ExtractOptions, *, seed: int) -> None:
        self.preprocess = dense_preprocess(preprocess)
        self.options, self.seed = options, seed
        self.paths, self.ids = manifest.paths(), manifest.images["image_id"].to_numpy(str)

    def batch(self, rows: NDArray[np.int64], copy: int = 0) -> tuple[Tensor, ...]:
        """One tensor [len(rows), channels, size, size]; ``copy`` 0 is the image itself. Raises BadImageError."""

        def one(row: np.int64) -> Tensor:
            image = load_image(self.paths[row], self.preprocess, max_pixels=self.options.max_pixels)
            return augmentation(self.seed, str(self.ids[row]), copy).apply_image(image, self.preprocess)

        with ThreadPoolExecutor(max(1, self.options.workers)) as pool:
            return (torch.stack(list(pool.map(one, rows))),)


class EncoderAndDecoder(nn.Module):
    """An encoder and a decoder of its maps, trained together. Batch norms of the encoder keep their statistics."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    @staticmethod
    def of(
        encoder: Encoder, preprocess: Preprocess, build: Callable[[Sequence[int], Sequence[int]], nn.Module]
    ) -> "EncoderAndDecoder":
        """A trainable copy of ``encoder`` with ``build(widths, sides)`` on top.

        Raises NotApplicableError if the encoder gives no maps.
        """
        trained = copy.deepcopy(encoder)
        assert isinstance(trained, nn.Module)
        if next(trained.parameters(), None) is None:
            raise NotApplicableError("the encoder has no parameters to train")
        maps = features_of_blank(trained, preprocess).maps
        if not maps:
            raise NotApplicableError("the encoder gives no maps")
        for each in trained.parameters():
            each.requires_grad_(True)
        return EncoderAndDecoder(trained, build([m.shape[1] for m in maps], [m.shape[-1] for m in maps]))

    def train(self, mode: bool = True) -> "EncoderAndDecoder":
        """Train mode for all but the encoder's batch norms."""
        super().train(mode)
        for module in self.encoder.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits of a batch of images, the only input."""
        return self.decoder(self.encoder(inputs[0]).maps)
