"""Calls of an encoder as they are looked at: phantom images, float32, each with other random numbers."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxrbench.data.decode.preprocess import prepare
from cxrbench.encoder import Features, Preprocess
from cxrbench.kit.images import phantom_images
from cxrbench.plugins.fixed_images import COARSE_TOLERANCE, TOLERANCE, largest_change
from cxrbench.plugins.loading import LoadedEncoder, any_half, check_features

BATCH = 4  # images per call


@dataclass
class Caller:
    """Shows images to an encoder, on ``device``. ``seconds``: of each image of each call."""

    loaded: LoadedEncoder
    device: str = "cpu"
    seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.module.to(self.device)

    @property
    def module(self) -> Any:
        """The encoder itself."""
        return self.loaded.module

    @property
    def preprocess(self) -> Preprocess:
        """How it wants its images."""
        return self.loaded.module.preprocess

    def images(self, numbers: Sequence[int]) -> Tensor:
        """Phantom images as the encoder wants them, [n, channels, size, size]."""
        return torch.stack([prepare(phantom_images()[i], self.preprocess) for i in numbers])

    def __call__(self, images: Tensor) -> Features:
        """What the encoder gives, held to the contract. Raises UserError, or whatever the encoder does."""
        with torch.no_grad():
            return self.freely(images)

    def freely(self, images: Tensor) -> Features:
        """The same, and gradients are kept where the encoder keeps them."""
        images = images.to(self.device)
        on_gpu = torch.device(self.device).type == "cuda"
        with torch.random.fork_rng(devices=[self.device] if on_gpu else []):
            torch.manual_seed(len(self.seconds))
            started = time.perf_counter()
            features = self.module(images)
            if on_gpu:
                torch.cuda.synchronize(self.device)
            self.seconds.append((time.perf_counter() - started) / len(images))
        check_features(self.loaded.spec.name, features, len(images))
        return features

    @property
    def tolerance(self) -> float:
        """The largest relative change that is taken for noise."""
        coarse = self.device != "cpu" or any_half(self.module.parameters())
        return COARSE_TOLERANCE if coarse else TOLERANCE


def change(one: Features, other: Features) -> float:
    """The largest relative change between features of the same images: of pooled and of every map."""
    mine, theirs = ([floats(part) for part in (each.pooled, *each.maps)] for each in (one, other))
    return largest_change(mine, theirs)


def row(features: Features, image: int) -> Features:
    """Of one image alone."""
    at = slice(image, image + 1)
    return Features(features.pooled[at], tuple(m[at] for m in features.maps))


def floats(tensor: Tensor) -> NDArray[np.float32]:
    """The same numbers, float32."""
    return tensor.detach().float().cpu().numpy()
