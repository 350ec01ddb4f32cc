"""Fine-tuning on whole images: decoded images as inputs, and the encoder and the decoder as one model."""

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

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
        parameter = next(trained.parameters(), None)
        if parameter is None:
            raise NotApplicableError("the encoder has no parameters to train")
        with torch.no_grad():
            blank = torch.zeros(1, preprocess.channels, preprocess.size, preprocess.size, device=parameter.device)
            maps = trained(blank).maps
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
