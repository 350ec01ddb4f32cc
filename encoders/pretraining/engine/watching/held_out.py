"""The images that are watched: a fixed few, of validation patients where there are any."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from cxrbench.data.manifest import Manifest, Rows
from cxrbench.encoder import Preprocess
from cxrbench.encoders.pretraining.corpus import TrainingImages
from cxrbench.encoders.pretraining.engine.prepared import (
    Decoding,
    Eligible,
    Prepared,
    as_gray,
    prepare_images,
    rows_of,
    training_rows,
)
from cxrbench.errors import BadImageError


@dataclass(frozen=True)
class InMemory:
    """``Prepared`` images without a file: uint8 [n, 1, size, size]."""

    pixels: NDArray[np.uint8]
    dropped: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Pixels along a side."""
        return self.pixels.shape[-1]

    def __len__(self) -> int:
        return len(self.pixels)

    def images(self, rows: Rows) -> NDArray[np.uint8]:
        """Some of them."""
        return self.pixels[rows]


@dataclass(frozen=True)
class WatchedImages:
    """Images in an order that is random and fixed. ``held_out``: of validation patients, else training images.

    ``unreadable``: those that were to be watched, too.
    """

    images: TrainingImages
    held_out: bool
    unreadable: int

    def __len__(self) -> int:
        return len(self.images)

    def __str__(self) -> str:
        what = "images of validation patients" if self.held_out else "of the training images"
        return f"{len(self):,} {what}{f' ({self.unreadable:,} unreadable left out)' if self.unreadable else ''}"

    def first(self, most: int) -> Tensor:
        """uint8 [at most ``most``, 1, size, size]."""
        return self.images.images(np.arange(min(most, len(self))))


def watched_images(
    manifests: Sequence[Manifest],
    preprocess: Preprocess,
    cache: Path,
    *,
    most: int,
    excluded: Mapping[str, frozenset[str]] | None,
    eligible: Eligible,
    workers: int = 0,
    keep: bool = True,
) -> WatchedImages:
    """At most ``most`` images of validation patients, decoded once; of training patients if none of these can be read.

    None of test patients, none of those ``excluded`` (by dataset), none that is not ``eligible``. Unreadable ones are
    left out. ``keep``: in a file under ``cache``, as training images are, or in memory alone.
    """

    def watched(rows: pd.DataFrame, held_out: bool, before: int = 0) -> WatchedImages:
        found = some_of(rows, manifests, preprocess, cache, most, workers=workers, keep=keep)
        return WatchedImages(found, held_out, before + len(found.prepared.dropped))

    rows, unreadable = validation_rows(manifests, excluded or {}, eligible), 0
    if not rows.empty:
        found = watched(rows, held_out=True)
        if len(found):
            return found
        unreadable = found.unreadable
    return watched(training_rows(manifests, excluded=excluded, eligible=eligible), held_out=False, before=unreadable)


def some_of(
    rows: pd.DataFrame,
    manifests: Sequence[Manifest],
    preprocess: Preprocess,
    cache: Path,
    most: int,
    *,
    workers: int,
    keep: bool,
) -> TrainingImages:
    """At most ``most`` images of ``rows``, in a random order that is always the same; unreadable ones are left out."""
    chosen = np.random.default_rng(0).permutation(len(rows))[:most]
    rows = rows.iloc[chosen].reset_index(drop=True)
    prepared: Prepared
    if keep:
        prepared = prepare_images(rows, preprocess, cache, workers=workers, on_bad_image="skip")
    else:
        prepared = decoded(rows, preprocess)
    rows = rows.loc[~rows["path"].isin(list(prepared.dropped))].reset_index(drop=True)
    return TrainingImages(prepared, rows, {m.name: m for m in manifests})


def decoded(rows: pd.DataFrame, preprocess: Preprocess) -> InMemory:
    """The images of ``rows``, those that can be read."""
    pixels, dropped = [np.empty((0, 1, preprocess.size, preprocess.size), np.uint8)], []
    for path in rows["path"]:
        try:
            pixels.append(Decoding((Path(path),), as_gray(preprocess)).images(np.zeros(1, np.int64)))
        except BadImageError as error:
            dropped.append(error.path)
    return InMemory(np.concatenate(pixels), tuple(dropped))


def validation_rows(
    manifests: Sequence[Manifest], excluded: Mapping[str, frozenset[str]], eligible: Eligible
) -> pd.DataFrame:
    """As ``training_rows``, of the validation images of patients without a test image."""
    tables = []
    for manifest in manifests:
        images = manifest.images
        held_out = set(images.loc[images["split"] == "test", "patient_id"]) | excluded.get(manifest.name, frozenset())
        wanted = (images["split"] == "val").to_numpy() & ~images["patient_id"].isin(list(held_out)).to_numpy()
        tables.append(rows_of(manifest, wanted & eligible(manifest)))
    return pd.concat(tables, ignore_index=True)
