"""Embeddings by image, as a file holds them, and what no such file may hold."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrbench.errors import UserError
from cxrbench.files.names import some

Floats = NDArray[np.floating]
LEVELS = 4


@dataclass(frozen=True, eq=False)
class EmbeddingTable:
    """Row i of ``pooled`` [n, D] float32 is of the image ``images[i]``: its id, or its path as the dataset has it.

    ``datasets``: of which dataset each row is, where several are in one file; else empty. ``maps``: none, or four
    [n, C, side, side]. ``text_vectors`` [m, D'] float32 are of ``texts``.
    """

    images: tuple[str, ...]
    pooled: NDArray[np.float32]
    datasets: tuple[str, ...] = ()
    maps: tuple[Floats, ...] = ()
    texts: tuple[str, ...] = ()
    text_vectors: NDArray[np.float32] | None = None


def checked(table: EmbeddingTable, path: Path) -> EmbeddingTable:
    """The table itself. Raises UserError, one line: lengths that differ, rows that are there twice, NaN."""
    rows = len(table.images)
    if table.pooled.ndim != 2 or not table.pooled.size:
        raise UserError(f"{path}: its embeddings are {list(table.pooled.shape)}; give one vector per image, [n, D]")
    _check_length(path, "embeddings", len(table.pooled), rows, "images")
    if table.datasets:
        _check_length(path, "dataset names", len(table.datasets), rows, "images")
    keys = list(zip(table.datasets or [""] * rows, table.images, strict=True))
    _refuse_twice(path, "image", [f"{dataset}: {image}" if dataset else image for dataset, image in keys])
    _refuse_not_finite(path, "embedding", table.pooled, table.images)
    if len(table.maps) not in (0, LEVELS):
        raise UserError(f"{path} has {len(table.maps)} maps per image; give none, or four: maps0 to maps3")
    for level, maps in enumerate(table.maps):
        if maps.ndim != 4 or maps.shape[2] != maps.shape[3]:
            raise UserError(f"{path}: maps{level} is {list(maps.shape)}; give [n, C, side, side]")
        _check_length(path, f"maps{level}", len(maps), rows, "images")
        _refuse_not_finite(path, f"maps{level}", maps, table.images)
    if table.texts or table.text_vectors is not None:
        vectors = table.text_vectors
        if vectors is None or vectors.ndim != 2:
            raise UserError(f"{path}: its texts have no text_embeddings [m, D]")
        _check_length(path, "text embeddings", len(vectors), len(table.texts), "texts")
        _refuse_twice(path, "text", table.texts)
        _refuse_not_finite(path, "text embedding", vectors, table.texts)
    return table


def _check_length(path: Path, what: str, found: int, wanted: int, of: str) -> None:
    if found != wanted:
        raise UserError(f"{path} has {found:,} {what} for {wanted:,} {of}: one for each")


def _refuse_twice(path: Path, what: str, names: Sequence[str]) -> None:
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError(f"{path} has {len(twice):,} {what}(s) more than once: {some(twice)}; keep one row of each")


def _refuse_not_finite(path: Path, what: str, values: Floats, names: Sequence[str]) -> None:
    bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(1)).tolist()
    if bad:
        whose = some([names[i] for i in bad])
        raise UserError(
            f"{path}: the {what} of {len(bad):,} of {len(names):,} is NaN or infinite: {whose}; "
            "leave such rows out (--on-bad-image skip counts images without a row)"
        )
