"""An encoder as protocols see it: its features come from the cache."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Encoder, EncoderSpec, StoredEncoder
from cxrbench.engine.plan import EncoderRef
from cxrbench.features.pooled import PooledFeatures, pooled_features
from cxrbench.features.stored.rows import stored_pooled
from cxrbench.task import RunContext

if TYPE_CHECKING:  # where everything is finished, nothing computes
    from cxrbench.features.maps.dense import DenseMaps
    from cxrbench.features.stored.table import EmbeddingTable


@dataclass(frozen=True)
class CachedEncoder:
    """A FrozenEncoder: features of one dataset's images, from the cache, for its manifest or a part of it.

    Nothing is extracted before a task asks for it.
    """

    ref: EncoderRef
    images: Manifest
    context: RunContext
    skip_bad: bool
    cache_limit: int

    @property
    def spec(self) -> EncoderSpec:
        """Who it is."""
        return self.ref.spec

    @property
    def module(self) -> Encoder:
        """The network itself, loaded when asked for."""
        return self.ref.load()

    @cached_property
    def features(self) -> PooledFeatures:
        """Image embeddings of all images."""
        if self.ref.stored:
            return stored_pooled(self._stored, self.spec.name, self.images, skip_bad=self.skip_bad)
        return pooled_features(
            self.spec, self.ref.load, self.ref.preprocess, self.images, self.context.scratch, self.context.options,
            skip_bad=self.skip_bad, progress=self.context.progress, fixed=self.ref.fixed,
        )  # fmt: skip

    @cached_property
    def _stored(self) -> "EmbeddingTable":
        """The file of a StoredEncoder."""
        module = self.ref.load()
        assert isinstance(module, StoredEncoder)
        return module.stored_embeddings

    def bad_images(self) -> list[str]:
        """Identifiers of the images that cannot be read; extracts the image embeddings of all to find out."""
        bad = {path for path, _ in self.features.bad}
        images = self.images.images["image_id"]
        return [image for image, path in zip(images, self.images.paths(), strict=True) if str(path) in bad]

    @property
    def known_features(self) -> PooledFeatures | None:
        """Image embeddings, if anybody has asked for them so far."""
        return self.__dict__.get("features")

    def pooled(self, manifest: Manifest) -> NDArray[np.float32]:
        """Image embeddings [len(manifest), D]."""
        if len(manifest) == len(self.images):
            return self.features.pooled
        return self.pooled_of(manifest.images["image_id"])

    def pooled_of(self, image_ids: Iterable[str]) -> NDArray[np.float32]:
        """Image embeddings [n, D] of images by their identifiers."""
        row_of = {image: row for row, image in enumerate(self.images.images["image_id"])}
        return self.features.pooled[[row_of[image] for image in image_ids]]

    def maps(self, manifest: Manifest, copies: int = 0) -> "DenseMaps":
        """Dense features of whole images and of augmented copies of the training images."""
        from cxrbench.features.maps.cache import dense_maps
        from cxrbench.features.stored.maps import stored_maps

        if self.ref.stored:
            return stored_maps(self._stored, self.spec.name, self.ref.preprocess, manifest, copies=copies)
        return dense_maps(
            self.spec, self.ref.load, self.ref.preprocess, manifest, self.context.scratch, self.context.options,
            copies=copies, limit_bytes=self.cache_limit, skip_bad=self.skip_bad, progress=self.context.progress,
            fixed=self.ref.fixed,
        )  # fmt: skip
