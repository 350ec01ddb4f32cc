"""An encoder on several datasets at once: the features of each are those that its own runs use."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Encoder, EncoderSpec
from cxrbench.engine.cached_encoder import CachedEncoder
from cxrbench.engine.elsewhere.joined import OWN_ID, SET
from cxrbench.engine.plan import EncoderRef
from cxrbench.errors import NotApplicableError
from cxrbench.features.pooled import PooledFeatures
from cxrbench.task import RunContext

if TYPE_CHECKING:  # where everything is finished, nothing computes
    from cxrbench.features.maps.dense import DenseMaps


@dataclass(frozen=True)
class JoinedEncoder:
    """A FrozenEncoder of a joined manifest (``images``); ``of_sets``: the encoder on each of its datasets, by name.

    Each dataset's features are in the cache by themselves, so that no image meets an encoder twice.
    """

    of_sets: Mapping[str, CachedEncoder]
    images: Manifest

    @property
    def ref(self) -> EncoderRef:
        """How to build it."""
        return self._any.ref

    @property
    def spec(self) -> EncoderSpec:
        """Who it is."""
        return self._any.spec

    @property
    def module(self) -> Encoder:
        """The network itself, loaded when asked for."""
        return self._any.module

    @property
    def context(self) -> RunContext:
        """Where and how to compute."""
        return self._any.context

    @property
    def skip_bad(self) -> bool:
        """Whether images that cannot be read are left out."""
        return self._any.skip_bad

    def bad_images(self) -> list[str]:
        """Identifiers, as the joined manifest has them, of the images that cannot be read."""
        bad = {(name, image) for name, encoder in self.of_sets.items() for image in encoder.bad_images()}
        images = self.images.images
        return [i for i, *own in zip(images["image_id"], images[SET], images[OWN_ID], strict=True) if tuple(own) in bad]

    @property
    def known_features(self) -> PooledFeatures | None:
        """Image embeddings of one of the sets that anybody has asked for so far: the one that was just extracted."""
        known = [features for one in self.of_sets.values() if (features := one.known_features) is not None]
        return min(known, key=lambda features: features.from_cache, default=None)

    def pooled(self, manifest: Manifest) -> NDArray[np.float32]:
        """Image embeddings [len(manifest), D] of a joined manifest or a part of it."""
        names, own = (manifest.images[column].to_numpy(str) for column in (SET, OWN_ID))
        values = np.empty((len(manifest), self._any.features.pooled.shape[1]), np.float32)
        for name, encoder in self.of_sets.items():
            values[names == name] = encoder.pooled_of(own[names == name])
        return values

    def maps(self, manifest: Manifest, copies: int = 0) -> "DenseMaps":
        """Dense maps are of one dataset. Raises NotApplicableError."""
        del manifest, copies
        raise NotApplicableError("dense maps are kept for one dataset at a time")

    @property
    def _any(self) -> CachedEncoder:
        return next(iter(self.of_sets.values()))
