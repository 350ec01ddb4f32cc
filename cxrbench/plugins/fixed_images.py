"""Two images that never change, and what an encoder gives for them.

A hash of sources and weights cannot see an environment variable, a file that is read at run time, a layer without a
seed or a patched library. So the features of two fixed images are kept beside every cell and cache entry, and compared
before one is used again. They are never hashed: the last bits depend on threads and kernels.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# Largest relative change (L2 norm, the worst of both images and of pooled features and maps) that is taken for noise.
# Measured on a CPU for ViT-S, ViT-B, ResNet-50, ConvNeXt-T, `spcl` and `imagenet` in float32: at most 1e-6 over 1 to 8
# threads and batches of 1 to 16, 2.1e-6 with other kernels (oneDNN off) and against float64: a fiftieth of the limit.
# Half precision is compared more widely: rounded to bfloat16 the ViTs and ResNet-50 move by 5e-3 to 1.3e-2 (and
# EfficientNet by 0.13), and two machines that round otherwise may be twice that apart; an accelerator's TF32, with
# three bits more, lies well below. What a person changes on purpose (a pooling, a block, an activation) moves the
# output by tenths.
TOLERANCE = 1e-4
COARSE_TOLERANCE = 5e-2
SKETCH = 256  # numbers per image and map
HEIGHT, WIDTH = 320, 288


@dataclass(frozen=True, eq=False)
class FixedFeatures:
    """What an encoder gives for the fixed images.

    ``pooled``: [2, D] float32. ``maps``: none, or one [2, SKETCH] per map, a linear sketch of it that keeps distances.
    ``coarse``: whether half precision or an accelerator was at work.
    """

    pooled: Floats
    maps: tuple[Floats, ...] = ()
    coarse: bool = False

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, to the bit."""
        return {"pooled": encoded(self.pooled), "maps": [encoded(m) for m in self.maps], "coarse": self.coarse}

    @staticmethod
    def from_json(facts: Mapping[str, Any]) -> "FixedFeatures":
        """What ``to_json`` gave. Raises ValueError, KeyError or TypeError if it is damaged."""
        return FixedFeatures(
            decoded(facts["pooled"], 2), tuple(decoded(text, 2) for text in facts["maps"]), bool(facts["coarse"])
        )

    def change(self, before: "FixedFeatures") -> float:
        """The largest relative change since ``before``; infinity if there are others in number or width."""
        return largest_change((self.pooled, *self.maps), (before.pooled, *before.maps))

    @property
    def tolerance(self) -> float:
        """The largest relative change that is taken for noise."""
        return COARSE_TOLERANCE if self.coarse else TOLERANCE

    def row(self, image: int) -> "FixedFeatures":
        """What it gives for one of the images."""
        at = slice(image, image + 1)
        return FixedFeatures(self.pooled[at], tuple(m[at] for m in self.maps), self.coarse)

    def difference(self, before: "FixedFeatures") -> str | None:
        """Why what was made by ``before`` is not this encoder's, or None if the change is noise."""
        change = self.change(before)
        if change <= max(self.tolerance, before.tolerance):
            return None
        if np.isinf(change):
            return "its output on two fixed images has another shape"
        return f"its output on two fixed images changed by {100 * change:.2g}%"


def fixed_images() -> Floats:
    """Two gray images [2, HEIGHT, WIDTH] in [0, 1] with structure at all scales: rings, and bars on a slope."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] / max(HEIGHT, WIDTH)
    rings = 0.5 + 0.45 * np.sin(90 * ((x - 0.35) ** 2 + (y - 0.4) ** 2)) * np.exp(-1.5 * y)
    bars = 0.15 + 0.5 * x + 0.3 * (np.sin(25 * x * (1 + 2 * y)) > 0.2) * (y > 0.3)
    disc = ((x - 0.6) ** 2 + (y - 0.7) ** 2 < 0.02) * 0.2
    return np.clip(np.stack([rings, bars - disc]), 0, 1).astype(np.float32)


def sketch(values: Floats) -> Floats:
    """[b, n] to [b, SKETCH]: every number with a fixed sign into a fixed bucket, so that distances are kept.

    (A count sketch; Charikar et al. 2002: the expected squared norm is that of the values.)
    """
    h = (np.arange(values.shape[1], dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h ^= h >> np.uint64(31)
    bucket = (h % np.uint64(SKETCH)).astype(np.int64)
    sign = np.where((h >> np.uint64(40)) & np.uint64(1), 1.0, -1.0)
    return np.stack([np.bincount(bucket, sign * row, SKETCH) for row in values]).astype(np.float32)


def largest_change(now: Sequence[Floats], before: Sequence[Floats]) -> float:
    """The largest ``relative_change`` of arrays [b, ...] one by one; infinity where shapes or their number differ."""
    if [part.shape for part in now] != [part.shape for part in before]:
        return float("inf")
    return max(relative_change(a, b) for a, b in zip(now, before, strict=True))


def relative_change(now: Floats, before: Floats) -> float:
    """Of [b, ...]: norm of the change by the larger norm, the worst image. What both have not finite is passed over."""
    if (np.isfinite(now) != np.isfinite(before)).any():
        return float("inf")
    flat = (v.reshape(len(v), math.prod(v.shape[1:])).astype(np.float64) for v in (now, before))
    a, b = (np.nan_to_num(v, nan=0, posinf=0, neginf=0) for v in flat)
    scale = np.maximum(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))
    return float(np.max(np.linalg.norm(a - b, axis=1) / np.maximum(scale, 1e-30), initial=0))


def encoded(values: Floats) -> str:
    """The numbers as text, to the bit."""
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()


def decoded(text: str, rows: int) -> Floats:
    """What ``encoded`` was given, [rows, n]. Raises ValueError if it is damaged."""
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4").reshape(rows, -1).astype(np.float32)
