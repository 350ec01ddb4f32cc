"""The linear probe as a task: what it may see, what it keeps, how it says what it cannot do."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from cxrbench.data.manifest import Manifest
from cxrbench.errors import UserError
from cxrbench.task import Cell
from cxrbench.tasks.classification.linear_probe import STRENGTHS, TASK
from support.probe_data import SPEC, make


def run(x: np.ndarray, manifest: Manifest, fraction: float = 1.0, seed: int = 0) -> Any:
    fake: Any = SimpleNamespace(spec=SPEC, module=None, pooled=lambda manifest: x)
    return TASK.run(fake, manifest, Cell("fake", "toy", "classification", fraction, seed))


def test_scores_equal_scikit_learn_with_the_strength_of_lowest_validation_loss() -> None:
    x, manifest = make()
    predictions = run(x, manifest)
    train, val, test = (manifest.rows_of(split) for split in ("train", "val", "test"))
    scaler = StandardScaler().fit(x[train])
    for i, label in enumerate(manifest.labels):
        y = manifest.targets()[:, i]
        peers = [
            LogisticRegression(C=c, solver="newton-cholesky", tol=1e-10).fit(scaler.transform(x[train]), y[train])
            for c in STRENGTHS
        ]
        losses = [log_loss(y[val], peer.predict_proba(scaler.transform(x[val]))[:, 1]) for peer in peers]
        expected = peers[int(np.argmin(losses))].predict_proba(scaler.transform(x[test]))[:, 1]
        np.testing.assert_allclose(predictions.test_rows()[f"score:{label}"], expected, atol=2e-3)


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_the_head_that_is_fitted_again_gives_the_scores_that_were_saved(kind: Any) -> None:
    x, manifest = make()
    if kind == "multiclass":
        manifest = replace(manifest, images=manifest.images.assign(b=1 - manifest.images["a"]), kind=kind)
    else:
        untrained = np.where(manifest.images["split"] == "train", 1.0, manifest.images["a"]).astype(np.float32)
        manifest = replace(manifest, images=manifest.images.assign(c=untrained), labels=("a", "b", "c"))
    saved = run(x, manifest, fraction=0.3, seed=2)
    fake: Any = SimpleNamespace(spec=SPEC, module=None, pooled=lambda manifest: x)
    head = TASK.head(fake, manifest, Cell("fake", "toy", "classification", 0.3, 2))
    logits = head.logits(x[manifest.rows_of("test")])
    scores = expit(logits) if kind == "multilabel" else softmax(logits, axis=1)
    np.testing.assert_allclose(scores, saved.scores(saved.test_rows()), atol=1e-5)
    assert np.isnan(head.weights).any() == (kind == "multilabel")


def test_test_labels_change_nothing_but_their_own_column() -> None:
    x, manifest = make()
    images = manifest.images.copy()
    images.loc[images["split"] == "test", ["a", "b"]] = np.nan
    seen, blind = run(x, manifest), run(x, replace(manifest, images=images))
    for label in manifest.labels:
        assert np.array_equal(seen.rows[f"score:{label}"], blind.rows[f"score:{label}"])


def test_features_on_another_scale_give_the_same_scores() -> None:
    x, manifest = make()
    scaled = run((x * np.float32(1000) + np.float32(5)).astype(np.float32), manifest)
    np.testing.assert_allclose(scaled.rows["score:a"], run(x, manifest).rows["score:a"], atol=1e-3)


def test_constant_and_duplicate_features_do_no_harm() -> None:
    x, manifest = make()
    padded = np.concatenate([x, np.full_like(x[:, :3], 7), x[:, :3]], 1)
    scores = run(padded, manifest).rows["score:a"]
    assert np.isfinite(scores).all()
    assert np.corrcoef(scores, run(x, manifest).rows["score:a"])[0, 1] > 0.99


def test_fewer_labels_are_a_worse_probe_and_the_seed_draws_them() -> None:
    x, manifest = make(3000, 60)
    error = {
        fraction: np.mean(
            [
                np.mean((p["score:a"] - p["target:a"]) ** 2)
                for p in [run(x, manifest, fraction, s).test_rows() for s in (0, 1, 2)]
            ]
        )
        for fraction in (0.02, 1.0)
    }
    assert error[0.02] > error[1.0]
    one, two = (run(x, manifest, 0.1, seed).rows["score:a"] for seed in (0, 1))
    assert not np.array_equal(one, two)
    assert TASK.seeds_matter(0.1)
    assert not TASK.seeds_matter(1.0)


def test_a_label_with_one_class_in_training_is_undefined_with_a_note() -> None:
    x, manifest = make()
    images = manifest.images.copy()
    images.loc[images["split"] == "train", "b"] = 0
    predictions = run(x, replace(manifest, images=images))
    assert predictions.rows["score:b"].isna().all()
    assert predictions.rows["score:a"].notna().all()
    assert "one class only among the training images, so not trained: b" in predictions.notes


def test_a_label_that_validation_cannot_judge_is_still_predicted() -> None:
    x, manifest = make()
    images = manifest.images.copy()
    images.loc[images["split"] == "val", "b"] = np.nan
    predictions = run(x, replace(manifest, images=images))
    assert predictions.rows["score:b"].notna().all()
    assert any("validation" in note for note in predictions.notes)


def test_classes_that_exclude_each_other_get_probabilities_that_sum_to_one() -> None:
    x, manifest = make()
    classes = np.digitize(x[:, 0], [-0.5, 0.5])
    images = manifest.images.drop(columns=["a", "b"]).assign(
        **{name: (classes == k).astype(np.float32) for k, name in enumerate("lmh")}
    )
    predictions = run(x, replace(manifest, images=images, labels=("l", "m", "h"), kind="multiclass", groups={}))
    test = predictions.test_rows()
    np.testing.assert_allclose(predictions.scores(test).sum(1), 1, atol=1e-6)
    assert (predictions.scores(test).argmax(1) == predictions.targets(test).argmax(1)).mean() > 0.85


def test_an_image_without_a_class_is_an_error() -> None:
    x, manifest = make()
    with pytest.raises(UserError, match="no class"):
        run(x, replace(manifest, images=manifest.images.assign(a=np.nan), kind="multiclass"))


def test_a_dataset_without_a_test_split_is_not_applicable() -> None:
    _, manifest = make()
    images = manifest.images[manifest.images["split"] != "test"]
    assert "test split is empty" in (TASK.not_applicable(replace(manifest, images=images)) or "")
