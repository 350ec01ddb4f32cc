"""Pooled features of some rows of a manifest, as the caches ask for them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Encoder, EncoderSpec, Preprocess
from cxrbench.errors import UserError
from cxrbench.features.entries import Bad
from cxrbench.plugins.fixed_images import FixedFeatures

if TYPE_CHECKING:
    from cxrbench.features.extract import ExtractOptions

Batch = tuple[NDArray[np.float32], Bad]
"""Rows, [b, D] (NaN where the image is bad; D is 0 where all are), and the bad images."""


@dataclass(frozen=True)
class PooledRows:
    """What an encoder gives for the images of a manifest; ``fixed``: for the fixed images, if anybody has looked."""

    spec: EncoderSpec
    load_module: Callable[[], Encoder]
    preprocess: Preprocess
    manifest: Manifest
    options: "ExtractOptions"
    skip_bad: bool
    fixed: FixedFeatures | None

    def extract(self, first: int, end: int) -> Iterator[Batch]:
        """Rows ``first .. end``, a batch at a time; ``first`` is a multiple of the batch size.

        Raises BadImageError for a corrupt image unless ``skip_bad``, UserError for NaN features or a changing width.
        """
        from cxrbench.features.extract import extract  # torch: for who computes, not for who plans

        views = self.manifest.images["view"].tolist() if self.spec.by_view else None
        paths = self.manifest.paths()[:end]
        for batch in extract(self.load_module, self.preprocess, paths, first, self.options, views=views):
            if batch.bad and not self.skip_bad:
                raise batch.bad[0]
            width = batch.values.shape[1]
            if self.fixed is not None and width not in (0, self.fixed.pooled.shape[1]):
                raise UserError(
                    f"encoder {self.spec.name} gives {width} numbers for each of {len(batch.values)} images and "
                    f"{self.fixed.pooled.shape[1]} for each of two: the width must be the same for every batch"
                )
            yield batch.values, tuple((error.path, error.reason) for error in batch.bad)
