"""Images as batches of tensors, decoded in threads again in every epoch: memory does not grow with the data."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxrbench.data.decode.images import decode
from cxrbench.data.decode.preprocess import normalised, prepare
from cxrbench.data.manifest import Manifest, Rows
from cxrbench.encoder import Preprocess
from cxrbench.errors import UserError
from cxrbench.features.extract import ExtractOptions
from cxrbench.tasks.training.image_augmentation import (
    augment,
    check_steps,
    generator,
    random_resized_crop,
)


@dataclass(frozen=True)
class ImageBatches:
    """A manifest's images as an encoder wants them.

    ``steps``: augmentation of training images. ``frame``: ``{resize, size, crop}``: the image is brought to ``size``
    and ``crop`` is cut out of it, at random in training and at the centre otherwise; both scale with the encoder's
    input (256 and 224 become 512 and 448 for an encoder of 448 pixels). Without one it is the encoder's own
    preprocessing. Normalisation is the encoder's own in any case.
    """

    manifest: Manifest
    preprocess: Preprocess
    options: ExtractOptions
    steps: tuple[Mapping[str, Any], ...] = ()
    frame: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        check_steps(self.steps)
        crops = sum("random_resized_crop" in step for step in self.steps)
        if self.frame is not None and (set(self.frame) != {"resize", "size", "crop"} or crops):
            raise UserError(f"a frame has resize, size and crop, and no random_resized_crop beside it: {self.frame}")

    def batches(self, batches: Iterable[Rows], seed: int, epoch: int | None = None) -> Iterator[tuple[Rows, Tensor]]:
        """Rows and their images [b, channels, S, S], augmented by (seed, epoch, image) if there is an ``epoch``.

        At most two batches are in memory. For an accelerator the next one is decoded while this one is used; on a CPU
        the two take turns, for the network has all cores. Raises BadImageError.
        """
        ids, paths = self.manifest.images["image_id"].to_numpy(str), self.manifest.paths()

        def load(row: int) -> Tensor:
            return self.image(decode(paths[row], max_pixels=self.options.max_pixels), ids[row], seed, epoch)

        ahead = 0 if self.options.device.type == "cpu" else 1
        with ThreadPoolExecutor(max(1, self.options.workers)) as pool:
            waiting: list[tuple[Rows, list[Any]]] = []
            try:
                for rows in batches:
                    waiting.append((rows, [pool.submit(load, int(row)) for row in rows]))
                    if len(waiting) > ahead:
                        done, images = waiting.pop(0)
                        yield done, torch.stack([image.result() for image in images])
                while waiting:
                    done, images = waiting.pop(0)
                    yield done, torch.stack([image.result() for image in images])
            finally:
                for _, images in waiting:
                    for image in images:
                        image.cancel()

    def views_of(self, rows: Rows) -> list[str]:
        """The view of each of these images."""
        return self.manifest.images["view"].iloc[rows].tolist()

    def image(self, image: NDArray[np.float32], image_id: str, seed: int, epoch: int | None) -> Tensor:
        """One gray image [H, W] in [0, 1] as the encoder wants it: [channels, S, S]."""
        wanted = self.preprocess
        gray = replace(wanted, mean=(0.0,), std=(1.0,), channels=1)
        rng = generator(seed, epoch or 0, image_id)
        crop = next((step for step in self.steps if "random_resized_crop" in step), None) if epoch is not None else None
        if crop is not None:
            square = random_resized_crop(image, wanted.size, crop, wanted.interpolation, rng)
        elif self.frame is not None:
            square = self._framed(image, gray, None if epoch is None else rng)
        else:
            square = prepare(image, gray)
        if epoch is not None:
            square = augment(square, self.steps, rng, seed, image_id, epoch)
        return normalised(square, wanted)

    def _framed(self, image: NDArray[np.float32], gray: Preprocess, rng: np.random.Generator | None) -> Tensor:
        """Cut the encoder's square out of a larger one, at random or (no ``rng``) at the centre."""
        assert self.frame is not None
        side = round(gray.size * self.frame["size"] / self.frame["crop"])
        whole = prepare(image, replace(gray, size=side, resize=self.frame["resize"], crop_pct=1.0))
        room = side - gray.size
        top, left = (room // 2, room // 2) if rng is None else (int(v) for v in rng.integers(room + 1, size=2))
        return whole[:, top : top + gray.size, left : left + gray.size]
