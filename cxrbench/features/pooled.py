"""The feature cache: every image meets every encoder once.

An entry (``cxrbench/features/journal.py``) holds ``pooled.f32``, the embeddings of a dataset's images by one encoder.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Encoder, EncoderSpec, Preprocess
from cxrbench.errors import BadImageError
from cxrbench.features.extract import ExtractOptions, extract
from cxrbench.features.journal import Bad, Place, cached_rows
from cxrbench.progress import Progress

# Part of every key, that of dense maps included, and of every cell: change it when decoding, preprocessing, extraction
# or the layout of a row change.
FORMAT = "4"


@dataclass(frozen=True)
class PooledFeatures:
    """Embeddings [rows, D] in the manifest's row order (NaN where the image is bad), and what is known of the run."""

    pooled: NDArray[np.float32]
    bad: Bad
    images_per_second: float
    from_cache: bool


def feature_key(spec: EncoderSpec, manifest: Manifest, precision: str) -> str:
    """What the features depend on: encoder fingerprint, precision, image set, and ``FORMAT``."""
    return hashlib.sha256("|".join((FORMAT, spec.fingerprint, precision, manifest.image_set)).encode()).hexdigest()


def pooled_features(
    spec: EncoderSpec,
    load_module: Callable[[], Encoder],
    preprocess: Preprocess,
    manifest: Manifest,
    cache: Path,
    options: ExtractOptions,
    *,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> PooledFeatures:
    """The cached features of a manifest's images, extracting whatever is not there.

    Two processes may ask for the same entry at once: one extracts, the other waits. Raises BadImageError for a
    corrupt image unless ``skip_bad``, UserError for NaN features or a full disk; what was finished is kept.
    """
    key = feature_key(spec, manifest, options.precision)

    def produce(start: int) -> Iterator[tuple[NDArray[np.float32], Bad]]:
        for batch in extract(load_module, preprocess, manifest.paths(), start, options):
            if batch.bad and not skip_bad:
                raise batch.bad[0]
            yield batch.values, tuple((error.path, error.reason) for error in batch.bad)

    found = cached_rows(
        Place(cache / "features" / key[:2] / key, "pooled.f32", np.float32, len(manifest)),
        produce,
        options.batch_size,
        {"encoder": spec.name, "dataset": manifest.name, "precision": options.precision},
        f"another process is extracting {spec.name} on {manifest.name}: waiting for it",
        progress or Progress(),
    )
    if found.bad and not skip_bad:
        raise BadImageError(*found.bad[0])
    return PooledFeatures(found.values, found.bad, found.images_per_second, found.from_cache)
