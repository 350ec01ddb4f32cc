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
from cxrbench.encoder import Encoder, Preprocess, view_codes
from cxrbench.errors import NotApplicableError
from cxrbench.features.device import autocast
from cxrbench.features.extract import ExtractOptions, codes_of
from cxrbench.features.maps.dense import DenseMaps, dense_preprocess
from cxrbench.task import FrozenEncoder
from cxrbench.tasks.blank_image import features_of_blank
from cxrbench.tasks.dense.moves import Draw
from cxrbench.tasks.dense.recipe import DenseRecipe
from cxrbench.tasks.training.optimization import head_groups

ENCODER_RATE = 0.1
"""A fine-tuned encoder learns at this share of the head's rate."""

Head = Callable[[Sequence[int], Sequence[int], int], nn.Module]


Inputs = Callable[[NDArray[np.int64], int], tuple[Tensor, ...]]


@dataclass(frozen=True)
class DenseModel:
    """``module`` maps what ``inputs(rows, copy)`` gives of manifest rows to the numbers of ``head``, a part of it.

    ``preprocess``: how images come to the square that the head speaks of. ``features``: channels of the maps that the
    head reads. ``parts``: what is trained, each with its share of the learning rate.
    """

    module: nn.Module
    head: nn.Module
    inputs: Inputs
    preprocess: Preprocess
    features: tuple[int, ...]
    parts: tuple[tuple[nn.Module, float], ...]

    def __call__(self, rows: NDArray[np.int64], copy: int, device: torch.device) -> Tensor:
        """The head's numbers of manifest rows, float32 unless under autocast."""
        inputs = [
            x.to(device, torch.float32, memory_format=torch.channels_last, non_blocking=True)
            for x in self.inputs(rows, copy)
        ]
        return self.module(inputs)

    def groups(self, recipe: DenseRecipe) -> list[dict[str, Any]]:
        """Parameter groups of an optimizer."""
        return [{**group, "lr_scale": share} for module, share in self.parts for group in head_groups(module, recipe)]

    def facts(self, name: str) -> dict[str, Any]:
        """What a cell tells of its head: ``name``, ``parameters`` that are learnt, channels of the maps it reads."""
        parameters = sum(p.numel() for p in self.head.parameters())
        return {"head": {"name": name, "parameters": parameters, "features": list(self.features)}}


def on_frozen_maps(
    encoder: FrozenEncoder, manifest: Manifest, copies: int, head: Head, levels: Sequence[int], draw: Draw | None = None
) -> DenseModel:
    """A head on ``levels`` of the maps: the encoder meets every image once, and each of its ``copies``.

    With ``draw`` the training images are moved anew in every epoch, and the encoder meets them as often.
    """
    maps = encoder.maps(manifest, copies)
    module = head(maps.widths, maps.sides, maps.preprocess.size).to(encoder.context.options.device)
    inputs: Inputs = partial(maps.batch, levels=levels)
    if draw is not None:
        encoder.context.progress.note(
            f"{encoder.spec.name} meets every training image of {manifest.name} anew in each epoch, for the recipe "
            "augments them: an epoch costs a pass of the encoder"
        )
        inputs = MovedMaps(
            encoder, WholeImages(manifest, encoder.module.preprocess, encoder.context.options, draw), maps, levels
        )
    features = tuple(maps.widths[level] for level in levels)
    module = module.to(memory_format=torch.channels_last)
    return DenseModel(module, module, inputs, maps.preprocess, features, ((module, 1.0),))


def finetuned(encoder: FrozenEncoder, manifest: Manifest, head: Head, levels: Sequence[int], draw: Draw) -> DenseModel:
    """A copy of the encoder that learns with its head, from images moved anew each time.

    Raises NotApplicableError if the encoder has no parameters or no maps.
    """
    options = encoder.context.options
    images = WholeImages(manifest, encoder.module.preprocess, options, draw)
    native: list[int] = []

    def build(widths: Sequence[int], sides: Sequence[int]) -> nn.Module:
        native.extend(widths[level] for level in levels)
        return head(widths, sides, images.preprocess.size)

    whole = EncoderAndDecoder.of(encoder.module, images.preprocess, build)
    parts = ((whole.decoder, 1.0), (whole.encoder, ENCODER_RATE))
    return DenseModel(
        whole.to(options.device), whole.decoder, images.batch, images.preprocess, tuple(native), parts
    )  # fmt: skip


class WholeImages:
    """Images of manifest rows as an encoder wants them, decoded when asked for, moved on the fly by ``draw``."""

    def __init__(self, manifest: Manifest, preprocess: Preprocess, options: ExtractOptions, draw: Draw) -> None:
        self.preprocess = dense_preprocess(preprocess)
        self.options, self.draw = options, draw
        self.paths, self.ids = manifest.paths(), manifest.images["image_id"].to_numpy(str)
        self.views = manifest.images["view"].to_numpy(str)

    def batch(self, rows: NDArray[np.int64], copy: int = 0) -> tuple[Tensor, ...]:
        """One tensor [len(rows), channels, size, size]; ``copy`` 0 is the image itself. Raises BadImageError."""

        def one(row: np.int64) -> Tensor:
            image = load_image(self.paths[row], self.preprocess, max_pixels=self.options.max_pixels)
            return self.draw(str(self.ids[row]), copy).apply_image(image, self.preprocess)

        with ThreadPoolExecutor(max(1, self.options.workers)) as pool:
            return (torch.stack(list(pool.map(one, rows))),)


@dataclass(frozen=True)
class MovedMaps:
    """Maps of images as they are from ``maps``, and of moved ones from the frozen encoder, each time anew."""

    encoder: FrozenEncoder
    images: WholeImages
    maps: DenseMaps
    levels: Sequence[int]

    def __call__(self, rows: NDArray[np.int64], copy: int) -> tuple[Tensor, ...]:
        """Maps of ``levels`` of manifest rows; ``copy`` 0 is the image itself."""
        if copy == 0:
            return self.maps.batch(rows, 0, self.levels)
        options = self.encoder.context.options
        module: Any = self.encoder.module
        module.to(options.device)
        made = []
        with torch.no_grad(), autocast(options.device, options.precision):
            codes = codes_of(module, self.images.views[rows].tolist())
            whole = self.images.batch(rows, copy)[0]
            for cut in (slice(at, at + options.batch_size) for at in range(0, len(whole), options.batch_size)):
                told = () if codes is None else (codes[cut].to(options.device),)
                found = module(whole[cut].to(options.device), *told).maps
                made.append([found[level].float() for level in self.levels])
        return tuple(torch.cat(parts) for parts in zip(*made, strict=True))


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
        if view_codes(encoder) is not None:
            raise NotApplicableError(
                "it embeds images by their views, which end-to-end training of maps does not tell it: take one view "
                "for all images, e.g. mvmae:F@WEIGHTS"
            )
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
