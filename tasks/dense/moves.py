"""How an image, its masks and its boxes are moved together, as a paper's recipe lists it.

Steps are those of ``cxrbench.tasks.training.image_augmentation``, and ``elastic``. What moves pixels (flip, affine,
elastic) moves masks and boxes by the same draw; what changes gray values does not touch them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from cxrbench.data.decode.preprocess import normalised
from cxrbench.encoder import Preprocess
from cxrbench.errors import UserError
from cxrbench.features.augmentation import Augmentation, augmentation
from cxrbench.tasks.training.image_augmentation import STEPS, augment, check_steps, generator

GRAY = ("jitter", "gamma", "blur", "noise")
ELASTIC = frozenset({"smoothness", "p"})


class Move(Protocol):
    """One move of the square."""

    def apply_image(self, image: Tensor, preprocess: Preprocess | None = None) -> Tensor:
        """Of an image [C, S, S], gray values in [0, 1], or normalised as ``preprocess`` says."""
        ...

    def apply_mask(self, mask: Tensor) -> Tensor:
        """Of masks or coverages [K, S, S]."""
        ...

    def apply_boxes(self, boxes: NDArray[np.float64], size: int) -> NDArray[np.float64]:
        """Of boxes [n, 4] (x, y, width, height) in the pixels of a square of ``size``."""
        ...


Draw = Callable[[str, int], Move]
"""The move of an image's copy, by the image's name and the copy's number; copy 0 is the image itself."""


def our_draw(seed: int) -> Draw:
    """The harness' own augmentation."""
    return lambda image_id, copy: augmentation(seed, image_id, copy)


def paper_draw(steps: Sequence[Mapping[str, Any]], seed: int) -> Draw:
    """A recipe's steps, in their order, drawn from (seed, copy, image). Raises UserError for a step that cannot be."""
    check_steps([step for step in steps if "elastic" not in step])
    for step in steps:
        elastic = "elastic" in step and not set(step) - {"elastic"} - ELASTIC
        if not elastic and not {"flip", "affine", *GRAY} & set(step):
            raise UserError(
                f"augmentation {dict(step)} moves no masks or boxes; known: flip, affine, elastic, {', '.join(GRAY)}"
            )

    def draw(image_id: str, copy: int) -> Move:
        if copy == 0:
            return Augmentation()
        rng = generator(seed, copy, image_id)
        return Moves(tuple(_drawn(step, rng, copy, image_id) for step in steps))

    return draw


def _drawn(step: Mapping[str, Any], rng: np.random.Generator, copy: int, image_id: str) -> Move:
    own = np.random.default_rng(int(rng.integers(2**63)))  # a step's draws do not depend on how many others take
    if own.random() >= step.get("p", 1.0):
        return Augmentation()
    if "flip" in step:
        return Augmentation(flip=bool(own.random() < step["flip"]))
    if "affine" in step:
        shift_x, shift_y = (float(own.uniform(-1, 1) * step.get("shift", 0.0)) for _ in range(2))
        return Augmentation(
            rotation=float(own.uniform(-1, 1) * step["affine"]),
            scale=float(1 + own.uniform(-1, 1) * step.get("scale", 0.0)),
            shift_x=shift_x,
            shift_y=shift_y,
        )
    if "elastic" in step:
        return Elastic(float(step["elastic"]), float(step.get("smoothness", 0.1)), int(own.integers(2**63)))
    kind = next(key for key in step if key in STEPS)
    return Gray({key: value for key, value in step.items() if key != "p"}, int(own.integers(2**63)), kind)


@dataclass(frozen=True)
class Moves:
    """Several moves, one after the other."""

    steps: tuple[Move, ...]

    def apply_image(self, image: Tensor, preprocess: Preprocess | None = None) -> Tensor:
        """All of them, of the gray image, once; normalised again if it was."""
        gray = image
        if preprocess is not None:
            mean, std = (torch.tensor(v, dtype=image.dtype)[:, None, None] for v in (preprocess.mean, preprocess.std))
            gray = (image * std + mean)[:1]
        for step in self.steps:
            gray = step.apply_image(gray).clamp(0, 1)
        return gray if preprocess is None else normalised(gray, preprocess)

    def apply_mask(self, mask: Tensor) -> Tensor:
        """All that move pixels."""
        for step in self.steps:
            mask = step.apply_mask(mask)
        return mask.float()

    def apply_boxes(self, boxes: NDArray[np.float64], size: int) -> NDArray[np.float64]:
        """All that move pixels; a box that leaves the square loses its width or height."""
        for step in self.steps:
            boxes = step.apply_boxes(boxes, size)
        return boxes


@dataclass(frozen=True)
class Gray:
    """Gray values change, nothing moves."""

    step: Mapping[str, Any]
    seed: int
    kind: str

    def apply_image(self, image: Tensor, preprocess: Preprocess | None = None) -> Tensor:
        """Of a gray image [1, S, S] in [0, 1]."""
        assert preprocess is None
        return augment(image, [self.step], np.random.default_rng(self.seed), self.seed, self.kind, 0)

    def apply_mask(self, mask: Tensor) -> Tensor:
        """The same masks."""
        return mask

    def apply_boxes(self, boxes: NDArray[np.float64], size: int) -> NDArray[np.float64]:
        """The same boxes."""
        del size
        return boxes


@dataclass(frozen=True)
class Elastic:
    """Simard et al. (2003), "Best practices for convolutional neural networks applied to visual document analysis".

    Every pixel is moved by a field of uniform noise smoothed by a Gaussian of σ = ``smoothness`` of the side and scaled
    so that its largest displacement on an axis is ``strength`` of the side.
    """

    strength: float
    smoothness: float
    seed: int

    def apply_image(self, image: Tensor, preprocess: Preprocess | None = None) -> Tensor:
        """Of an image [C, S, S], bilinear; black comes in from outside."""
        assert preprocess is None
        side = image.shape[-1]
        noise = np.random.default_rng(self.seed).uniform(-1, 1, (2, side, side))
        field = np.stack([gaussian_filter(axis, self.smoothness * side) for axis in noise])
        field *= 2 * self.strength / np.abs(field).max((1, 2), keepdims=True)  # grid_sample's side is 2
        still = F.affine_grid(torch.eye(2, 3)[None], [1, *image.shape], align_corners=False)
        grid = still + torch.from_numpy(field).permute(1, 2, 0)[None].to(still.dtype)
        return F.grid_sample(image[None].float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0]

    def apply_mask(self, mask: Tensor) -> Tensor:
        """Of masks [K, S, S], by the same field."""
        return self.apply_image(mask)

    def apply_boxes(self, boxes: NDArray[np.float64], size: int) -> NDArray[np.float64]:
        """Boxes have no shape that a field could bend: recipes with both are refused before."""
        raise NotImplementedError
