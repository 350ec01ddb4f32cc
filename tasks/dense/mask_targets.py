"""True masks as a decoder's targets: how much of each coarse pixel they cover."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cxrbench.data.annotations.masks import IGNORE, Mask, TrueMasks
from cxrbench.encoder import Preprocess
from cxrbench.features.maps.dense import Geometry
from cxrbench.tasks.dense.losses import INSIDE
from cxrbench.tasks.dense.moves import Draw, Move


class MaskTargets:
    """Targets of manifest rows, made when they are first asked for and kept, a byte per value.

    Without ``keep`` only those of the images themselves are kept, not of augmented copies that come but once.
    """

    def __init__(
        self,
        truth: TrueMasks,
        ids: Sequence[str],
        sizes: Sequence[tuple[int, int]],
        preprocess: Preprocess,
        side: int,
        *,
        draw: Draw,
        keep: bool,
    ) -> None:
        """``ids``, ``sizes``: image, and its height and width, of each row; ``draw``: how copies are moved."""
        self.truth, self.ids, self.sizes, self.preprocess, self.side = truth, ids, sizes, preprocess, side
        self.draw, self.keep = draw, keep
        self._kept: dict[tuple[int, int], Tensor] = {}

    def __call__(self, rows: NDArray[np.int64], copy: int = 0) -> Tensor:
        """uint8 [len(rows), labels, side, side]: coverage, 0 to 254, or 255 where a pixel counts for nothing."""
        return torch.stack([self._one(int(row), copy) for row in rows])

    def _one(self, row: int, copy: int) -> Tensor:
        if (row, copy) in self._kept:
            return self._kept[row, copy]
        name = self.ids[row]
        if name in self.truth.parts:
            masks, geometry = self.truth.native(name, *self.sizes[row]), Geometry.of(self.preprocess, *self.sizes[row])
            target = coverage(masks, geometry, self.draw(name, copy), self.side)
        else:
            blank = torch.from_numpy(np.where(self.truth.known(name), 0, IGNORE).astype(np.uint8))
            target = blank[:, None, None].expand(-1, self.side, self.side)
        if self.keep or copy == 0:
            self._kept[row, copy] = target
        return target


def coverage(masks: Mask, geometry: Geometry, move: Move, side: int) -> Tensor:
    """Native masks [L, H, W] (1, 0, 255) as uint8 [L, side, side] in the moved square: 0 to 254, 255 to be ignored.

    The coverage is that of the part of a coarse pixel that counts; where less than half of it counts, none does.
    """

    def moved(chosen: NDArray[np.bool_]) -> Tensor:
        square = torch.from_numpy(np.stack([geometry.mask_to_square(mask) for mask in chosen]))
        return F.adaptive_avg_pool2d(move.apply_mask(square), side)

    inside = moved(masks == 1)
    if not (masks == IGNORE).any():
        return (inside * INSIDE).round().to(torch.uint8)
    ignored = moved(masks == IGNORE)
    target = (inside / (1 - ignored).clamp_min(0.5) * INSIDE).round().clamp(0, INSIDE).to(torch.uint8)
    unknown = torch.from_numpy((masks == IGNORE).all((1, 2)))[:, None, None]
    return target.masked_fill((ignored > 0.5) | unknown, IGNORE)
