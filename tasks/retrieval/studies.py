"""Queries, of images or of whole studies, and the cell that comes of ranking for them."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrbench.data.manifest import Manifest
from cxrbench.errors import NotApplicableError
from cxrbench.predictions import Predictions
from cxrbench.task import Cell, FrozenEncoder, predictions_of

RECALLS = (1, 5, 10)

Floats = NDArray[np.floating]
Array = NDArray[np.float64]


def unit(embeddings: Floats) -> NDArray[np.float32]:
    """Embeddings [n, D] scaled to length one; a vector of zeros stays one, at cosine 0 to everything."""
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return (embeddings / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def cosine(a: Floats, b: Floats) -> Array:
    """Cosines [n] of the rows of two matrices [n, D]; 0 where one of them is zero."""
    return (unit(a).astype(np.float64) * unit(b)).sum(1)


def rank_columns(label: str, ranks: Array, relevant: NDArray[np.integer]) -> dict[str, Array]:
    """The columns of a direction: ``rank``, recall@1, 5 and 10 (is the first right item among them?), ``target``.

    ranks: [n], NaN where the query counts for nothing; relevant: [n] numbers of right items.
    """
    counted = np.isfinite(ranks)
    columns = {f"rank:{label}": ranks, f"target:{label}": np.where(counted, relevant, 0).astype(np.float64)}
    return columns | {
        f"value:recall@{k}:{label}": np.where(counted, (ranks <= k).astype(np.float64), np.nan) for k in RECALLS
    }


def trains_on_nothing(cell: Cell) -> None:
    """Raise NotApplicableError at a label fraction below 1, for what uses no labels."""
    if cell.fraction < 1:
        raise NotApplicableError("it trains on nothing, so label fractions below 1 do not concern it")


def study_rows(manifest: Manifest) -> pd.DataFrame:
    """One row per study, ``image_id`` that of its first image: how a query of a whole study is named.

    Columns ``study_id``, ``image_id``, ``patient_id``, ``split``; sorted by ``image_id``.
    """
    first = manifest.images.drop_duplicates("study_id").reset_index(drop=True)
    return first.filter(["study_id", "image_id", "patient_id", "split"])


def study_means(features: Floats, manifest: Manifest, studies: pd.DataFrame) -> Array:
    """Mean embedding [len(studies), D] of the images of each study."""
    number = pd.Index(studies["study_id"]).get_indexer(pd.Index(manifest.images["study_id"]))
    sums = np.zeros((len(studies), features.shape[1]))
    np.add.at(sums, number[number >= 0], np.asarray(features, np.float64)[number >= 0])
    return sums / np.bincount(number[number >= 0], minlength=len(studies))[:, None]


def counted(queries: pd.DataFrame, what: str = "test studies") -> str:
    """How many queries there are, and of how many patients: ``300 test studies of 280 patients``."""
    return f"{len(queries):,} {what} of {queries['patient_id'].nunique():,} patients"


def retrieved(
    queries: pd.DataFrame,
    columns: Mapping[str, object],
    labels: tuple[str, ...],
    encoder: FrozenEncoder,
    manifest: Manifest,
    cell: Cell,
    notes: tuple[str, ...],
    train_images: int = 0,
) -> Predictions:
    """A cell of kind ``retrieval``: the queries (``image_id``, ``patient_id``, ``split``) with their columns."""
    return predictions_of(
        cell, encoder, manifest, queries, columns, labels=labels, kind="retrieval", groups={"macro": labels},
        facts={"train_images": train_images}, notes=notes,
    )  # fmt: skip
