"""The cache of dense maps: a frozen encoder runs once per image, not once per epoch.

An entry (``making.py``) holds ``maps.f16``, one row per image (``layout.py``). Augmented
copies of the training images are entries of their own.
"""

import contextlib
import functools
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Encoder, EncoderSpec, Preprocess
from cxrbench.errors import BadImageError, NotApplicableError, UserError
from cxrbench.features.augmentation import RANGES, SEED, augmentation
from cxrbench.features.cache_limit import room
from cxrbench.features.entries import META, Bad, Place
from cxrbench.features.extract import ExtractedBatch, ExtractOptions, embed, extract, unmoved
from cxrbench.features.making import Making, cached_rows
from cxrbench.features.maps.dense import DenseMaps, dense_preprocess
from cxrbench.features.maps.layout import HALF, LEVELS, Halves, MapsLayout
from cxrbench.features.pooled import FORMAT, seen_by
from cxrbench.features.reuse import agrees, check_unchanged, drop_if_changed
from cxrbench.files.records import read_record
from cxrbench.plugins.fixed_images import FixedFeatures
from cxrbench.plugins.loading import fixed_batch
from cxrbench.progress import Progress

Positions = NDArray[np.int64]
OVERHEAD = 4096  # bytes of an entry's meta.json and journal


class StoredMaps(Protocol):
    """Packed rows of some images, wherever they come from."""

    def take(self, positions: Positions, cuts: Sequence[slice]) -> list[Halves]:
        """The cuts [len(positions), cut] of these rows, each contiguous."""
        ...


@dataclass(frozen=True)
class StoredRows:
    """From disk: ``values`` is the memory-mapped [images, length]."""

    values: Halves

    def take(self, positions: Positions, cuts: Sequence[slice]) -> list[Halves]:
        """Copy them out of the file, image by image."""
        return [self.values[positions, cut] for cut in cuts]


@dataclass(frozen=True)
class LiveRows:
    """From the encoder, each time anew, and rounded as the cache rounds, so that the cache changes no result.

    ``preprocess``: for whole images; ``copy``: 0, or which augmented copy. ``views``: if it asks for them.
    """

    load_module: Callable[[], Encoder]
    preprocess: Preprocess
    paths: tuple[Path, ...]
    image_ids: tuple[str, ...]
    copy: int
    options: ExtractOptions
    layout: MapsLayout
    views: tuple[str, ...] | None = None

    def batches(self, positions: Positions, start: int = 0) -> Iterator[ExtractedBatch]:
        """Packed rows of the images at ``positions[start:]``, a batch at a time."""

        def moved(i: int, image: Tensor) -> Tensor:
            move = augmentation(SEED, self.image_ids[positions[i]], self.copy)
            return move.apply_image(image, self.preprocess)

        paths = [self.paths[position] for position in positions]
        move = moved if self.copy else unmoved
        read = self.layout.pack
        views = None if self.views is None else [self.views[position] for position in positions]
        return extract(self.load_module, self.preprocess, paths, start, self.options, read=read, move=move, views=views)

    def take(self, positions: Positions, cuts: Sequence[slice]) -> list[Halves]:
        """Run the encoder. Raises BadImageError."""
        batches = list(self.batches(positions))
        for batch in batches:
            if batch.bad:
                raise batch.bad[0]
        rows = np.concatenate([batch.values for batch in batches])
        return [np.ascontiguousarray(rows[:, cut]) for cut in cuts]


@dataclass(frozen=True)
class ManifestMaps:
    """DenseMaps of a manifest. ``copies[k]``: the manifest rows that have a k-th copy, in order, and their maps."""

    layout: MapsLayout
    preprocess: Preprocess
    copies: tuple[tuple[Positions, StoredMaps], ...]

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the four maps."""
        return self.layout.widths

    @property
    def sides(self) -> tuple[int, ...]:
        """Side in cells of the four maps."""
        return self.layout.sides

    @property
    def cached(self) -> bool:
        """Whether all lie on disk."""
        return not any(isinstance(rows, LiveRows) for _, rows in self.copies)

    def batch(self, rows: Positions, copy: int = 0, levels: Sequence[int] = (0, 1, 2, 3)) -> tuple[Tensor, ...]:
        """Maps [len(rows), C, side, side], channels-last. Raises ValueError for an image without such a copy."""
        if not 0 <= copy < len(self.copies):
            raise ValueError(f"copy {copy} of {len(self.copies) - 1} was asked for")
        present, source = self.copies[copy]
        positions = np.searchsorted(present, rows)
        if len(rows) and not np.array_equal(present.take(positions, mode="clip"), rows):
            raise ValueError("only training images have augmented copies")
        exponents, *maps = source.take(positions, (slice(0, LEVELS), *(self.layout.cuts[level] for level in levels)))
        return tuple(
            self.layout.unpack(level, exponents[:, level], values) for level, values in zip(levels, maps, strict=True)
        )


def dense_key(spec: EncoderSpec, manifest: Manifest, preprocess: Preprocess, precision: str, copy: int) -> str:
    """What the maps of a manifest's images depend on; of an augmented copy, also on its draw."""
    parts = ("dense", FORMAT, spec.fingerprint, precision, manifest.image_set, repr(preprocess))
    parts += seen_by(spec, manifest)
    drawn = (str(SEED), str(copy), repr(RANGES)) if copy else ()
    return hashlib.sha256("|".join((*parts, *drawn)).encode()).hexdigest()


def dense_maps(
    spec: EncoderSpec,
    load_module: Callable[[], Encoder],
    preprocess: Preprocess,
    manifest: Manifest,
    cache: Path,
    options: ExtractOptions,
    *,
    copies: int,
    limit_bytes: int,
    skip_bad: bool,
    progress: Progress,
    fixed: FixedFeatures | None = None,
) -> DenseMaps:
    """The maps of a manifest's images and of ``copies`` augmented copies of its training images.

    Made now if they are not in the cache and there is room for them: within ``limit_bytes`` for the maps of all
    encoders and datasets together, entries used longest ago being deleted. What does not fit is not cached: the
    encoder then runs at every ``batch``, and ``progress.note`` says so. Raises NotApplicableError for an encoder
    without maps, UserError for maps that are not square or not four, BadImageError unless ``skip_bad``.

    ``fixed``: what the encoder gives for the fixed images now; see ``pooled_features``.
    """
    whole, root = dense_preprocess(preprocess), cache / "dense"
    load = functools.cache(load_module)
    train = manifest.rows_of("train")
    training = replace(manifest, images=manifest.images.iloc[train])
    images = [(np.arange(len(manifest)), manifest), *[(train, training)] * copies]
    keys = [dense_key(spec, part, whole, options.precision, copy) for copy, (_, part) in enumerate(images)]
    folders = [root / key[:2] / key for key in keys]
    layout = _known_layout([folder for folder in folders if agrees(folder, fixed)]) or map_layout(
        spec.name, load(), whole, options
    )
    facts = {"encoder": spec.name, "dataset": manifest.name, "precision": options.precision,
             "widths": layout.widths, "sides": layout.sides}  # fmt: skip
    waiting = f"another process is extracting maps of {spec.name} on {manifest.name}: waiting for it"
    what = f"dense maps of {spec.name} on {manifest.name}"
    stored: dict[Path, int] = {}
    result: list[tuple[Positions, StoredMaps]] = []
    for copy, ((rows, part), folder) in enumerate(zip(images, folders, strict=True)):
        views = tuple(part.images["view"]) if spec.by_view else None
        ids = tuple(part.images["image_id"])
        live = LiveRows(load, whole, tuple(part.paths()), ids, copy, options, layout, views)
        size = len(part) * layout.bytes
        with room(root, folder, size + OVERHEAD, limit_bytes, stored) as fits:
            if not fits:
                result.append((rows, live))
                continue
            place = Place(folder, "maps.f16", HALF, len(part))
            drop_if_changed(folder, fixed, what, waiting, progress)
            found = cached_rows(place, Making(_producer(live, skip_bad), options.batch_size, facts), waiting, progress)
            check_unchanged(folder, fixed, what, found=found.from_cache)
        if found.bad and not skip_bad:
            raise BadImageError(*found.bad[0])
        now = time.time_ns()  # the system stamps files by a clock of some milliseconds: too coarse for an order
        with contextlib.suppress(OSError):  # in a read-only cache nothing is deleted, so no order is needed
            os.utime(folder / META, ns=(now, now))
        stored[folder] = size
        result.append((rows, StoredRows(found.values)))
    if len(stored) < len(images):
        total = sum(len(part) for _, part in images) * layout.bytes
        progress.note(
            f"{spec.name} on {manifest.name}: {_size(total)} of dense maps, and the cache limit of "
            f"{_size(limit_bytes)} has room for {_size(sum(stored.values()))} of them; for the rest the encoder runs "
            f"at every batch (raise --cache-limit)"
        )
    return ManifestMaps(layout, whole, tuple(result))


def _producer(live: LiveRows, skip_bad: bool) -> Callable[[int], Iterator[tuple[Halves, Bad]]]:
    """What the cache asks for rows: all images of ``live`` from a given one on."""

    def produce(start: int) -> Iterator[tuple[Halves, Bad]]:
        for batch in live.batches(np.arange(len(live.paths)), start):
            if batch.bad and not skip_bad:
                raise batch.bad[0]
            yield batch.values, tuple((error.path, error.reason) for error in batch.bad)

    return produce


def _known_layout(folders: Sequence[Path]) -> MapsLayout | None:
    """The layout that the first finished entry names, so that a full cache needs no encoder."""
    for folder in folders:
        try:
            meta = read_record(folder / META)
            return MapsLayout(tuple(meta["widths"]), tuple(meta["sides"]))
        except (OSError, UserError, KeyError):
            continue
    return None


def map_layout(name: str, module: Encoder, preprocess: Preprocess, options: ExtractOptions) -> MapsLayout:
    """Ask the encoder, with two images, what its maps are."""
    module = module.to(options.device, memory_format=torch.channels_last)  # type: ignore[attr-defined]
    shapes = embed(
        module, fixed_batch(preprocess), options, lambda features: np.array([m.shape[1:] for m in features.maps])
    )
    if not len(shapes):
        raise NotApplicableError(f"{name} gives no feature maps")
    if (shapes[:, 1] != shapes[:, 2]).any():
        wrong = ", ".join(f"{h} x {w}" for _, h, w in shapes)
        raise UserError(f"encoder {name} makes maps of {wrong} cells of a square image: they must be square, too")
    return MapsLayout(tuple(map(int, shapes[:, 0])), tuple(map(int, shapes[:, 1])))


def _size(count: int) -> str:
    """Bytes, readable: ``4.1 GB``."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count = count / 1000  # type: ignore[assignment]
    return f"{count:.3g} GB"
