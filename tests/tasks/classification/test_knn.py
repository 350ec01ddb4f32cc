"""Weighted nearest neighbours, against scikit-learn's."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier

from cxrbench.data.manifest import Manifest
from cxrbench.errors import UserError
from cxrbench.task import Cell
from cxrbench.tasks.classification.knn import TASK
from cxrbench.tasks.classification.neighbours import usable, votes
from support.probe_data import SPEC, make


def run(x: np.ndarray, manifest: Manifest) -> Any:
    fake: Any = SimpleNamespace(spec=SPEC, pooled=lambda manifest: x)
    return TASK.run(fake, manifest, Cell("fake", "toy", "knn"))


def peer(x: np.ndarray, y: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    weights: Any = lambda d: np.exp((1 - d) / 0.07)  # noqa: E731
    model = KNeighborsClassifier(k, metric="cosine", algorithm="brute", weights=weights)
    return model.fit(x.astype(np.float64), y).predict_proba(queries.astype(np.float64))


@pytest.mark.parametrize("k", [5, 50, 200])
def test_votes_equal_scikit_learns(k: int) -> None:
    x, manifest = make()
    train, test = manifest.rows_of("train"), manifest.rows_of("test")
    y = manifest.targets()[train]
    scores = votes(x[train], y, x[test], (5, 50, 200))[k]
    for i in range(2):
        np.testing.assert_allclose(scores[:, i], peer(x[train], y[:, i], x[test], k)[:, 1], atol=2e-5)


@pytest.mark.parametrize("scale", [2.0**110, 2.0**-110])
def test_features_whose_squares_overflow_vote_as_others_do(scale: float) -> None:
    x, manifest = make()
    train, test = manifest.rows_of("train"), manifest.rows_of("test")
    y, big = manifest.targets()[train], (x * scale).astype(np.float32)
    np.testing.assert_array_equal(votes(big[train], y, big[test], (5,))[5], votes(x[train], y, x[test], (5,))[5])


def test_unknown_labels_are_no_neighbours() -> None:
    x, manifest = make()
    y = manifest.targets()[:300].copy()
    y[::3, 1] = np.nan
    known = ~np.isnan(y[:, 1])
    scores = votes(x[:300], y, x[300:400], (10,))[10]
    np.testing.assert_allclose(scores[:, 1], peer(x[:300][known], y[known, 1], x[300:400], 10)[:, 1], atol=2e-5)
    np.testing.assert_allclose(scores[:, 0], peer(x[:300], y[:, 0], x[300:400], 10)[:, 1], atol=2e-5)


def test_k_is_the_best_on_validation_and_classes_sum_to_one() -> None:
    x, manifest = make()
    predictions = run(x, manifest)
    train, val = manifest.rows_of("train"), manifest.rows_of("val")
    y = manifest.targets()
    quality = {
        k: np.mean(
            [roc_auc_score(y[val, i], peer(x[train], y[train, i], x[val], k)[:, 1]) for i in range(2)]
        )
        for k in (5, 10, 20, 50, 200)
    }  # fmt: skip
    assert predictions.cell["chosen"]["k"] == max(quality, key=lambda k: quality[k])
    classes = np.digitize(x[:, 0], [-0.5, 0.5])
    images = manifest.images.drop(columns=["a", "b"]).assign(
        **{name: (classes == c).astype(np.float32) for c, name in enumerate("lmh")}
    )
    several = run(x, replace(manifest, images=images, labels=("l", "m", "h"), kind="multiclass", groups={}))
    test = several.test_rows()
    np.testing.assert_allclose(several.scores(test).sum(1), 1, atol=1e-9)
    assert (several.scores(test).argmax(1) == several.targets(test).argmax(1)).mean() > 0.55
    with pytest.raises(UserError, match="no class"):
        run(x, replace(manifest, images=manifest.images.assign(a=np.nan), kind="multiclass"))


def test_a_label_with_one_class_is_undefined_and_few_images_have_few_neighbours() -> None:
    x, manifest = make()
    images = manifest.images.copy()
    images.loc[images["split"] == "train", "b"] = 0
    predictions = run(x, replace(manifest, images=images))
    assert predictions.rows["score:b"].isna().all()
    assert "not trained: b" in predictions.notes[0]
    assert usable(60) == (5, 10, 20, 50)
    assert usable(3) == (3,)
