"""The rows of a dataset's images in a file of embeddings, as protocols see features of an encoder."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.manifest import Manifest
from cxrbench.errors import UserError
from cxrbench.features.pooled import PooledFeatures
from cxrbench.features.stored.table import EmbeddingTable
from cxrbench.files.names import some

Rows = NDArray[np.int64]
ABSENT = -1


def rows_of(table: EmbeddingTable, file: str, manifest: Manifest) -> Rows:
    """The table's row of each image, ABSENT where it has none: by id, by path within the dataset, by whole path.

    Raises UserError if an image has rows by two of these names, or by one name with its dataset and without.
    """
    mine = [i for i, dataset in enumerate(table.datasets or [""] * len(table.images)) if dataset in ("", manifest.name)]
    index = {table.images[i]: i for i in mine}
    if twice := [name for name, count in Counter(table.images[i] for i in mine).items() if count > 1]:
        raise UserError(
            f"{file} has two rows for {some(twice)}: one of {manifest.name} and one of no dataset; keep one of each"
        )
    rows = np.full(len(manifest), ABSENT, np.int64)
    names = zip(manifest.images["image_id"], manifest.images["path"], manifest.paths(), strict=True)
    for at, (image, path, whole) in enumerate(names):
        found = {index[key] for key in (str(image), str(path), str(whole)) if key in index}
        if len(found) > 1:
            raise UserError(f"{file} has two rows for image {image} of {manifest.name}, by its id and by its path")
        rows[at] = found.pop() if found else ABSENT
    return rows


def stored_pooled(table: EmbeddingTable, file: str, manifest: Manifest, *, skip_bad: bool) -> PooledFeatures:
    """Embeddings of a manifest's images from a file.

    With ``skip_bad`` images without a row count as bad ones; else raises UserError that names them, and so it does if
    none has a row.
    """
    rows = rows_of(table, file, manifest)
    absent = np.flatnonzero(rows == ABSENT)
    if len(absent) == len(rows) or (len(absent) and not skip_bad):
        ids = manifest.images["image_id"].tolist()
        example = some(table.images)
        raise UserError(
            f"{file} has no row for {len(absent):,} of the {len(rows):,} images of {manifest.name}: "
            f"{some([ids[i] for i in absent])} (its own rows are called {example}); add them"
            + ("" if len(absent) == len(rows) else ", or leave such images out with --on-bad-image skip")
        )
    pooled = table.pooled[rows].astype(np.float32, copy=False)
    pooled[absent] = np.nan
    paths = manifest.paths()
    return PooledFeatures(pooled, tuple((str(paths[i]), "it has no row") for i in absent), float("nan"), True)
