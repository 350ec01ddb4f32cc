"""The ridge probe: scikit-learn's ridge, chosen on validation; what it may see; ages where nothing else is named."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import PredefinedSplit
from sklearn.preprocessing import StandardScaler

from cxrbench.data.manifest import QUANTITY, Manifest
from cxrbench.engine.truth import without_test_truth
from cxrbench.errors import NotApplicableError
from cxrbench.metrics.kinds import KINDS, headline
from cxrbench.predictions import Predictions
from cxrbench.task import Cell
from cxrbench.tasks.regression.ridge_probe import STRENGTHS, TASK
from support.probe_data import SPEC, make


def numbers() -> tuple[np.ndarray, Manifest]:
    """Two numbers that follow from the features but for noise; of the second half are unknown."""
    x, manifest = make()
    rng = np.random.default_rng(5)
    severity = (x @ rng.normal(size=x.shape[1]) + 3 * rng.normal(size=len(x))).astype(np.float32)
    extent = (x[:, 0] * 10 + rng.normal(size=len(x))).astype(np.float32)
    extent[rng.random(len(x)) < 0.5] = np.nan
    images = manifest.images.assign(**{f"{QUANTITY}severity": severity, f"{QUANTITY}extent": extent})
    return x, replace(manifest, images=images, quantities=("severity", "extent"))


def run(x: np.ndarray, manifest: Manifest, fraction: float = 1.0, seed: int = 0) -> Predictions:
    fake: Any = SimpleNamespace(spec=SPEC, module=None, pooled=lambda manifest: x)
    hidden = without_test_truth(manifest)
    predictions = TASK.run(fake, hidden, Cell("fake", "toy", "regression", fraction, seed))
    return KINDS["regression"].score(predictions, manifest)


def test_predictions_equal_scikit_learns_ridge_of_lowest_validation_error() -> None:
    x, manifest = numbers()
    predictions = run(x, manifest)
    train, val, test = (manifest.rows_of(split) for split in ("train", "val", "test"))
    scaler = StandardScaler().fit(x[train])
    for i, name in enumerate(manifest.quantities):
        y = manifest.measured()[:, i].astype(np.float64)
        fit, judge = train[~np.isnan(y[train])], val[~np.isnan(y[val])]
        rows = np.concatenate([fit, judge])
        fold = PredefinedSplit([-1] * len(fit) + [0] * len(judge))
        search = RidgeCV(alphas=STRENGTHS, cv=fold, scoring="neg_mean_squared_error")
        alpha = float(search.fit(scaler.transform(x[rows]), y[rows]).alpha_ or 0)
        expected = Ridge(alpha=alpha).fit(scaler.transform(x[fit]), y[fit]).predict(scaler.transform(x[test]))
        np.testing.assert_allclose(predictions.test_rows()[f"score:{name}"], expected, atol=1e-4)
        np.testing.assert_array_equal(predictions.test_rows()[f"target:{name}"], y[test])
        assert predictions.cell["chosen"][name] == alpha


def test_the_headline_is_r2_and_predictions_survive_a_file(tmp_path: Any) -> None:
    x, manifest = numbers()
    predictions = run(x, manifest)
    title, value = headline(predictions)
    assert title == "R²"
    assert 0.3 < value < 1
    predictions.save(tmp_path / "cell.parquet")
    assert Predictions.load(tmp_path / "cell.parquet").labels == ("severity", "extent")


def test_test_numbers_are_hidden_and_change_nothing() -> None:
    x, manifest = numbers()
    hidden = without_test_truth(manifest)
    assert np.isnan(hidden.measured()[manifest.rows_of("test")]).all()
    assert not np.isnan(hidden.measured()[manifest.rows_of("train"), 0]).any()
    images = manifest.images.copy()
    images.loc[images["split"] == "test", manifest.quantity_columns] = 99.0
    other = run(x, replace(manifest, images=images))
    assert other.rows["score:severity"].tolist() == run(x, manifest).rows["score:severity"].tolist()


def test_a_fraction_takes_whole_patients_and_seeds_matter_below_one() -> None:
    x, manifest = numbers()
    assert (TASK.seeds_matter(1.0), TASK.seeds_matter(0.5)) == (False, True)
    small = [run(x, manifest, 0.3, seed) for seed in (0, 1)]
    assert small[0].cell["train_images"] < run(x, manifest).cell["train_images"]
    assert small[0].rows["score:severity"].tolist() != small[1].rows["score:severity"].tolist()


def test_ages_are_asked_for_by_name_only() -> None:
    x, plain = make()
    ages = [str(40 + n % 30) if n % 5 else "" for n in range(len(x))]
    aged = replace(plain, images=plain.images.assign(**{"group:age": ages}))
    adapted = TASK.adapted(aged)
    assert (adapted.quantities, TASK.by_default(aged), TASK.not_applicable(adapted)) == (("age",), False, None)
    assert np.isnan(adapted.measured()[0, 0])
    assert adapted.fingerprint != aged.fingerprint
    hidden = without_test_truth(adapted)
    assert set(hidden.images["group:age"][hidden.images["split"] == "test"]) == {""}
    assert TASK.adapted(plain) is plain
    assert "no numbers to predict" in str(TASK.not_applicable(plain))
    _, named = numbers()
    assert TASK.by_default(named)
    assert TASK.adapted(named) is named


def test_what_cannot_be_trained_is_said() -> None:
    x, manifest = numbers()
    images = manifest.images.copy()
    images.loc[images["split"] == "train", f"{QUANTITY}extent"] = 1.0
    predictions = run(x, replace(manifest, images=images))
    assert np.isnan(predictions.rows["score:extent"].to_numpy()).all()
    assert "fewer than two different values among the training images, so not trained: extent" in predictions.notes
    images.loc[images["split"] == "train", f"{QUANTITY}severity"] = 1.0
    with pytest.raises(NotApplicableError, match="no number has two different values"):
        run(x, replace(manifest, images=images))
    images = manifest.images.copy()
    images.loc[images["split"] == "val", f"{QUANTITY}extent"] = np.nan
    assert any(
        "regularised by the middle strength: extent" in n for n in run(x, replace(manifest, images=images)).notes
    )
