"""Maps from a file of embeddings, as decoders see those of the cache."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Features, Preprocess
from cxrbench.errors import NotApplicableError, UserError
from cxrbench.features.maps.cache import ManifestMaps
from cxrbench.features.maps.dense import DenseMaps, dense_preprocess
from cxrbench.features.maps.layout import Halves, MapsLayout
from cxrbench.features.stored.rows import ABSENT, Rows, rows_of
from cxrbench.features.stored.table import EmbeddingTable


@dataclass(frozen=True)
class TableRows:
    """Packed maps of images, rounded as the cache rounds: ``rows`` of the table, in the manifest's order."""

    table: EmbeddingTable
    rows: Rows
    layout: MapsLayout

    def take(self, positions: Rows, cuts: Sequence[slice]) -> list[Halves]:
        """The cuts [len(positions), cut] of these images."""
        rows = self.rows[positions]
        maps = tuple(torch.from_numpy(np.ascontiguousarray(level[rows])) for level in self.table.maps)
        packed = self.layout.pack(Features(torch.from_numpy(self.table.pooled[rows]), maps))
        return [np.ascontiguousarray(packed[:, cut]) for cut in cuts]


def stored_maps(
    table: EmbeddingTable, file: str, preprocess: Preprocess, manifest: Manifest, *, copies: int
) -> DenseMaps:
    """The maps of a manifest's images. ``preprocess``: how the images came to the square that the maps are of.

    Raises NotApplicableError where the file has none, or has no augmented copies and these are wanted, UserError for an
    image without a row.
    """
    if not table.maps:
        raise NotApplicableError(f"{file} has no feature maps")
    if copies:
        raise NotApplicableError(f"{file} has no maps of augmented copies: leave out --augment")
    rows = rows_of(table, file, manifest)
    if (absent := np.flatnonzero(rows == ABSENT)).size:
        ids = manifest.images["image_id"].tolist()
        raise UserError(f"{file} has no maps of {len(absent):,} images of {manifest.name}: {ids[absent[0]]}, ...")
    layout = MapsLayout(tuple(m.shape[1] for m in table.maps), tuple(m.shape[2] for m in table.maps))
    everything: NDArray[np.int64] = np.arange(len(manifest))
    return ManifestMaps(layout, dense_preprocess(preprocess), ((everything, TableRows(table, rows, layout)),))
