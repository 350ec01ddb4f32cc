"""The feature cache: every image meets every encoder once.

An entry (``cxrbench/features/making.py``) holds ``pooled.f32``, the embeddings of a dataset's images by one encoder,
and ``fixed.json``, what the encoder gave for two fixed images at that time. Parts of it that several workers have
extracted (``cxrbench/features/parts/``) are joined instead of extracted.
"""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Encoder, EncoderSpec, Preprocess
from cxrbench.errors import BadImageError, UserError
from cxrbench.features.entries import META, Bad, Place
from cxrbench.features.making import Making, cached_rows
from cxrbench.features.parts.join import Joining, remove_parts
from cxrbench.features.parts.places import FILE, entry_folder
from cxrbench.features.pooled_rows import PooledRows
from cxrbench.features.reuse import check_unchanged, drop_if_changed
from cxrbench.plugins.fixed_images import FixedFeatures
from cxrbench.progress import Progress

if TYPE_CHECKING:
    from cxrbench.features.extract import ExtractOptions

# Part of every key, that of dense maps included, and of every cell: change it when decoding, preprocessing, extraction
# or the layout of a row change.
FORMAT = "5"


@dataclass(frozen=True)
class PooledFeatures:
    """Embeddings [rows, D] in the manifest's row order (NaN where the image is bad), and what is known of the run."""

    pooled: NDArray[np.float32]
    bad: Bad
    images_per_second: float
    from_cache: bool


def feature_key(spec: EncoderSpec, manifest: Manifest, precision: str) -> str:
    """What the features depend on: encoder fingerprint, precision, image set, ``FORMAT``, and views if it asks."""
    parts = (FORMAT, spec.fingerprint, precision, manifest.image_set, *seen_by(spec, manifest))
    return hashlib.sha256("|".join(parts).encode()).hexdigest()


def seen_by(spec: EncoderSpec, manifest: Manifest) -> tuple[str, ...]:
    """What of a manifest an encoder depends on beside the images: their views, if it asks for them."""
    return (manifest.views_sha256,) if spec.by_view else ()


def pooled_features(
    spec: EncoderSpec,
    load_module: Callable[[], Encoder],
    preprocess: Preprocess,
    manifest: Manifest,
    cache: Path,
    options: "ExtractOptions",
    *,
    skip_bad: bool = False,
    progress: Progress | None = None,
    fixed: FixedFeatures | None = None,
) -> PooledFeatures:
    """The cached features of a manifest's images, extracting whatever is not there.

    ``fixed``: what the encoder gives for the fixed images now; an entry that was made when it gave something else is
    made again. None: not compared.

    Two processes may ask for the same entry at once: one extracts, the other waits. Raises BadImageError for a
    corrupt image unless ``skip_bad``, UserError for NaN features or a full disk; what was finished is kept.
    """
    folder = entry_folder(cache, feature_key(spec, manifest, options.precision))
    what, progress = f"features of {spec.name} on {manifest.name}", progress or Progress()
    waiting = f"another process is extracting {spec.name} on {manifest.name}: waiting for it"
    drop_if_changed(folder, fixed, what, waiting, progress)
    joining = Joining(folder, PooledRows(spec, load_module, preprocess, manifest, options, skip_bad, fixed), progress)
    facts = {"encoder": spec.name, "dataset": manifest.name, "precision": options.precision}
    making = Making(joining.produce, options.batch_size, facts, joining.speed)
    found = cached_rows(Place(folder, FILE, np.float32, len(manifest)), making, waiting, progress)
    check_unchanged(folder, fixed, what, found=found.from_cache)
    remove_parts(folder)
    with suppress(OSError):  # when it was last used, for who makes room; in a read-only cache nobody does
        os.utime(folder / META)
    if found.bad and not skip_bad:
        raise BadImageError(*found.bad[0])
    if len(found.bad) == len(manifest):  # parts of nothing but bad images
        raise UserError(f"not one image can be read; the first: {found.bad[0][0]}")
    return PooledFeatures(found.values, found.bad, found.images_per_second, found.from_cache)
