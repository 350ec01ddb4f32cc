"""From embeddings to points in the plane: PCA, t-SNE, UMAP. The same numbers give the same points, to the bit."""

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cxrbench.errors import UserError

Method = Literal["pca", "tsne", "umap"]
TITLES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
FEWEST = 5
"""Images of the smallest map."""
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Projection:
    """How points are found. ``perplexity``: of t-SNE; ``neighbours``: of UMAP; ``seed``: of both; PCA has neither."""

    method: Method = "tsne"
    perplexity: float = 30.0
    neighbours: int = 15
    seed: int = 0

    def __str__(self) -> str:
        said = {
            "pca": "", "tsne": f" (perplexity {self.perplexity:g}, seed {self.seed})",
            "umap": f" ({self.neighbours} neighbours, seed {self.seed})",
        }  # fmt: skip
        return TITLES[self.method] + said[self.method]

    def check(self, images: int) -> None:
        """Raise UserError for numbers that mean nothing, and for too few images: t-SNE looks at 3 x perplexity
        neighbours (van der Maaten and Hinton 2008), UMAP at so many as are said.
        """
        if not (np.isfinite(self.perplexity) and self.perplexity >= 1):
            raise UserError(f"--perplexity {self.perplexity:g}: give 1 or more")
        if self.neighbours < 2:
            raise UserError(f"--neighbours {self.neighbours}: give 2 or more")
        if images < FEWEST:
            raise UserError(f"{images} images are no map: give {FEWEST} or more")
        if self.method == "tsne" and images <= 3 * self.perplexity:
            most = (images - 1) // 3
            raise UserError(
                f"{images} images: t-SNE with a perplexity of {self.perplexity:g} needs more than "
                f"{3 * self.perplexity:g}; give --perplexity {most} or less, or --method pca"
            )
        if self.method == "umap" and images <= self.neighbours:
            raise UserError(f"{images} images: UMAP with {self.neighbours} neighbours needs more; give --neighbours")


def unit(embeddings: NDArray[np.float32]) -> Array:
    """Embeddings [n, D] on the unit sphere, float64: there, the nearest are those of the greatest cosine."""
    rows = embeddings.astype(np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float64).tiny)


def project(rows: Array, how: Projection) -> tuple[Array, float]:
    """Points [n, 2] of rows [n, D], and the share of the variance that they show (PCA; else NaN).

    Computed by one thread, for sums in another order would move points. Raises UserError for what cannot be projected.
    """
    from threadpoolctl import threadpool_limits

    how.check(len(rows))
    if rows.shape[1] < 2:
        raise UserError(f"embeddings of {rows.shape[1]} number: a map needs two")
    if np.ptp(rows, axis=0).max() < 1e-9:
        raise UserError("all images have one and the same embedding: there is nothing to map")
    with threadpool_limits(1):
        if how.method == "pca":
            return _pca(rows)
        return (_tsne(rows, how) if how.method == "tsne" else _umap(rows, how)), float("nan")


def _pca(rows: Array) -> tuple[Array, float]:
    from sklearn.decomposition import PCA

    found = PCA(2, svd_solver="full").fit(rows)
    return found.transform(rows), float(found.explained_variance_ratio_.sum())


def _tsne(rows: Array, how: Projection) -> Array:
    from sklearn.manifold import TSNE

    tsne = TSNE(2, perplexity=how.perplexity, init="pca", learning_rate="auto", random_state=how.seed, n_jobs=1)
    return tsne.fit_transform(rows).astype(np.float64)


def _umap(rows: Array, how: Projection) -> Array:
    try:
        import umap  # type: ignore[import-not-found]
    except ImportError as error:
        raise UserError("UMAP is not installed: pip install 'cxrbench[umap]', or give --method tsne") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a seed means one thread
        found: Any = umap.UMAP(n_neighbors=how.neighbours, random_state=how.seed, n_jobs=1)
        return np.asarray(found.fit_transform(rows), np.float64)
