"""Points and the numbers beside them, against scikit-learn and formulas written out."""

import numpy as np
import pytest
from sklearn.metrics import pairwise_distances
from sklearn.metrics.pairwise import cosine_similarity

from cxrbench.embedding_maps.grouping import Grouping, MapGroup
from cxrbench.embedding_maps.projection import Projection, project, unit
from cxrbench.embedding_maps.quality import neighbours, separation, trustworthiness
from cxrbench.errors import UserError

RNG = np.random.default_rng(0)
ROWS = RNG.standard_normal((60, 8)).astype(np.float32) + np.repeat(np.eye(2, 8), 30, 0).astype(np.float32) * 3


def halves(rest: int = 0) -> Grouping:
    """Two groups of 30; the last images may be in none."""
    codes = np.repeat([0, 1], 30)
    codes[60 - rest :] = 2
    return Grouping("x", (MapGroup("a", 30), MapGroup("b", 30 - rest), MapGroup("unknown", rest, rest=True)), codes)


def silhouette(rows: np.ndarray, codes: np.ndarray) -> float:
    """Rousseeuw's formula, image by image."""
    far, values = pairwise_distances(rows), []
    for i, code in enumerate(codes):
        same = (codes == code) & (np.arange(len(codes)) != i)
        a = far[i, same].mean()
        b = min(far[i, codes == other].mean() for other in set(codes) - {code})
        values.append((b - a) / max(a, b))
    return float(np.mean(values))


def test_silhouettes_are_of_the_named_groups_in_the_full_space_and_on_the_map() -> None:
    rows = unit(ROWS)
    points, _ = project(rows, Projection("pca"))
    found = separation("e", halves(rest=7), rows, points)
    assert found.in_embeddings == pytest.approx(silhouette(rows[:53], halves().codes[:53]))
    assert found.in_map == pytest.approx(silhouette(points[:53], halves().codes[:53]))
    assert (found.groups, found.images) == (2, 53)


def test_on_the_unit_sphere_the_nearest_are_those_of_the_greatest_cosine() -> None:
    near = pairwise_distances(unit(ROWS)).argsort(1)
    np.testing.assert_array_equal(near[:, 1:], (-cosine_similarity(ROWS.astype(float))).argsort(1)[:, 1:])


def test_trustworthiness_is_venna_and_kaskis_formula() -> None:
    rows, points, k, n = unit(ROWS), RNG.standard_normal((60, 2)), 15, 60
    assert neighbours(n) == k
    rank = pairwise_distances(rows).argsort(1).argsort(1)  # 0: itself
    shown = pairwise_distances(points).argsort(1)[:, 1 : k + 1]
    penalty = sum(max(0, rank[i, j] - k) for i in range(n) for j in shown[i])
    assert trustworthiness(rows, points) == pytest.approx(1 - 2 * penalty / (n * k * (2 * n - 3 * k - 1)))
    assert trustworthiness(rows[:, :2], rows[:, :2]) == 1
    assert neighbours(12) == 5


def test_a_pca_is_that_of_the_covariance_matrix() -> None:
    rows = unit(ROWS)
    points, shown = project(rows, Projection("pca"))
    values, vectors = np.linalg.eigh(np.cov(rows.T))
    assert shown == pytest.approx(values[-2:].sum() / values.sum())
    np.testing.assert_allclose(np.abs(points), np.abs((rows - rows.mean(0)) @ vectors[:, [-1, -2]]), atol=1e-9)


def test_t_sne_has_the_same_bits_twice_whatever_the_threads_and_keeps_what_is_apart_apart() -> None:
    from threadpoolctl import threadpool_limits

    how, rows = Projection("tsne", perplexity=10), unit(ROWS)
    first, shown = project(rows, how)
    with threadpool_limits(2):
        again, _ = project(rows, how)
    np.testing.assert_array_equal(first, again)
    assert np.isnan(shown)
    assert separation("e", halves(), rows, first).in_map > 0.3
    other, _ = project(rows, Projection("tsne", perplexity=10, seed=1))
    assert trustworthiness(rows, other) > 0.8


def test_umap_is_an_extra() -> None:
    pytest.importorskip("umap", reason="umap-learn is an extra: pip install 'cxrbench[umap]'")
    first, _ = project(unit(ROWS), Projection("umap", neighbours=10))
    again, _ = project(unit(ROWS), Projection("umap", neighbours=10))
    np.testing.assert_array_equal(first, again)
    assert separation("e", halves(), unit(ROWS), first).in_map > 0.3


@pytest.mark.parametrize(
    ("rows", "how", "message"),
    [
        (ROWS, Projection("tsne"), "60 images: t-SNE with a perplexity of 30 needs more than 90; give --perplexity 19"),
        (ROWS, Projection("tsne", perplexity=20), "needs more than 60"),
        (ROWS, Projection("umap", neighbours=60), "UMAP with 60 neighbours needs more"),
        (ROWS, Projection("umap", neighbours=1), "--neighbours 1: give 2 or more"),
        (ROWS, Projection("tsne", perplexity=0.5), "--perplexity 0.5: give 1 or more"),
        (ROWS[:4], Projection("pca"), "4 images are no map"),
        (ROWS[:, :1], Projection("pca"), "embeddings of 1 number"),
        (np.ones((60, 8), np.float32), Projection("pca"), "one and the same embedding"),
    ],
)
def test_what_cannot_be_projected_is_refused(rows: np.ndarray, how: Projection, message: str) -> None:
    with pytest.raises(UserError, match=message):
        project(unit(rows), how)


def test_without_umap_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    with pytest.raises(UserError, match=r"pip install 'cxrbench\[umap\]'"):
        project(unit(ROWS), Projection("umap"))
