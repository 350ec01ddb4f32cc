"""How the dense maps of one image lie in one row of float16 numbers."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxrbench.encoder import Features
from cxrbench.errors import UserError

LEVELS = 4
HALF = np.float16
LARGEST = 65504.0  # of float16

Halves = NDArray[np.float16]


@dataclass(frozen=True)
class MapsLayout:
    """A row of the cache: four exponents, then four maps [side, side, width], all float16.

    So an image is one contiguous read, and a batch needs no transposing for channels-last networks.

    A map whose largest magnitude is beyond float16's is stored divided by the power of two that brings it back, and
    the exponent says which; nearly all have exponent 0 and are plainly rounded to float16.
    """

    widths: tuple[int, ...]
    sides: tuple[int, ...]

    @property
    def cuts(self) -> tuple[slice, ...]:
        """Where each map lies in a row."""
        ends = LEVELS + np.cumsum([w * s * s for w, s in zip(self.widths, self.sides, strict=True)])
        return tuple(slice(int(a), int(b)) for a, b in zip([LEVELS, *ends[:-1]], ends, strict=True))

    @property
    def length(self) -> int:
        """Numbers in a row."""
        return self.cuts[-1].stop

    @property
    def bytes(self) -> int:
        """Of one row."""
        return self.length * HALF().itemsize

    def pack(self, features: Features) -> Halves:
        """Rows [b, length] of the maps of b images. Raises UserError if their shapes are not the layout's."""
        rows = np.empty((len(features.pooled), self.length), HALF)
        for level, (native, cut) in enumerate(zip(features.maps, self.cuts, strict=True)):
            if tuple(native.shape[1:]) != (self.widths[level], self.sides[level], self.sides[level]):
                raise UserError(f"its map {level} is {list(native.shape)} now, it had {self.sides[level]} cells a side")
            values = native.permute(0, 2, 3, 1).flatten(1).float()
            peak = values.abs().amax(1)
            exponent = (peak / LARGEST).log2().ceil().clamp(min=0)
            exponent = torch.where(peak.isfinite(), exponent, 0)  # NaN and infinity are the caller's to refuse
            if bool(exponent.any()):
                values = torch.ldexp(values, -exponent[:, None])
            rows[:, level] = exponent.cpu().numpy()
            rows[:, cut] = values.half().cpu().numpy()
        return rows

    def unpack(self, level: int, exponents: Halves, values: Halves) -> Tensor:
        """From exponents [b] and a map's numbers [b, side * side * width] to a channels-last [b, width, side, side].

        float16; float32 if any of the images has an exponent.
        """
        side, width = self.sides[level], self.widths[level]
        tensor = torch.from_numpy(values).unflatten(1, (side, side, width))
        if exponents.any():
            exponent = torch.from_numpy(exponents.astype(np.float32))
            tensor = torch.ldexp(tensor.float(), exponent[:, None, None, None])
        return tensor.permute(0, 3, 1, 2)
