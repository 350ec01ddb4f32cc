"""Late fusion: which views take part, and what a study's prediction is."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import EncoderCard, EncoderSpec
from cxrbench.engine.truth import without_test_truth
from cxrbench.errors import UserError
from cxrbench.metrics.kinds import KINDS
from cxrbench.task import Cell, TaskOptions
from cxrbench.tasks.classification import knn
from cxrbench.tasks.classification import linear_probe as classification
from cxrbench.tasks.classification.views import fuse, not_applicable, rows_with_views

SPEC = EncoderSpec("fake", EncoderCard("fake"), "w", "s", "p", 0)


def studies(n: int = 240, seed: int = 0) -> tuple[np.ndarray, Manifest]:
    """Features and manifest: a study has a PA, every second one a lateral, every third an AP; a label per study."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        views = ["PA"] + (["L"] if i % 2 else []) + (["AP"] if i % 3 == 0 else [])
        y = float(rng.random() < 0.4)
        split = ("train", "train", "train", "val", "test")[i % 5]
        rows += [(f"i{i:03}{v}", f"p{i:03}", f"s{i:03}", v, split, y) for v in views]
    frame = pd.DataFrame(rows, columns=["image_id", "patient_id", "study_id", "view", "split", "a"])
    frame = frame.assign(path=frame["image_id"], bytes=1).sort_values("image_id", ignore_index=True)
    x = rng.normal(size=(len(frame), 6)).astype(np.float32)
    x[:, 0] += 1.2 * frame["a"].to_numpy()
    return x, Manifest("toy", Path(), frame, ("a",))


def fake(x: np.ndarray) -> Any:
    return SimpleNamespace(spec=SPEC, pooled=lambda manifest: x)


def test_one_is_frontal_two_adds_the_lateral_all_is_all() -> None:
    _, manifest = studies()
    taken = {v: rows_with_views(manifest, v).images.query("split != 'unused'") for v in ("1", "2", "all")}
    assert set(taken["1"]["view"]) == {"PA"}
    assert set(taken["1"].groupby("study_id").size()) == {1}
    assert set(taken["2"]["view"]) == {"PA", "L"}
    assert len(taken["all"]) == len(manifest)
    assert all(set(t["study_id"]) == set(manifest.images["study_id"]) for t in taken.values())
    only_ap = replace(manifest, images=manifest.images[manifest.images["view"] != "PA"])
    assert set(rows_with_views(only_ap, "1").images.query("split != 'unused'")["view"]) == {"AP", "L"}


def test_fusion_is_the_mean_logit_or_the_mean_score() -> None:
    logits = np.array([[0.0, 3.0], [2.0, -1.0], [4.0, 0.5]])
    names, by_logits = fuse(logits, ["x", "y", "x"], "multilabel")
    assert names == ["x", "y"]
    np.testing.assert_allclose(by_logits, [expit(logits[[0, 2]].mean(0)), expit(logits[1])])
    np.testing.assert_allclose(
        fuse(logits, ["x", "y", "x"], "multilabel", "scores")[1], [expit(logits[[0, 2]]).mean(0), expit(logits[1])]
    )
    np.testing.assert_allclose(fuse(logits, ["x", "y", "x"], "multiclass", "scores")[1].sum(1), 1)


def test_rows_are_studies_and_the_engine_finds_their_truth() -> None:
    x, manifest = studies()
    task = classification.TASK.configured(TaskOptions(views="2"))
    assert task.protocol == "classification+views2"
    blind = task.run(fake(x), without_test_truth(manifest), Cell("fake", "toy", task.protocol))
    scored = KINDS[blind.kind].score(blind, manifest)
    rows = scored.test_rows()
    truth = manifest.images.drop_duplicates("study_id").set_index("study_id")["a"]
    assert set(rows["image_id"]) == set(manifest.images.query("split == 'test'")["study_id"])
    np.testing.assert_array_equal(rows["target:a"], truth.loc[rows["image_id"]])
    assert blind.test_rows()["target:a"].isna().to_numpy().all()


def test_a_study_without_a_second_view_is_scored_as_its_image() -> None:
    x, manifest = studies()
    tasks = {v: classification.TASK.configured(TaskOptions(views=v)) for v in ("1", "all")}
    images = classification.TASK.run(fake(x), manifest, Cell("fake", "toy", "classification")).rows.set_index(
        "image_id"
    )
    whole = tasks["all"].run(fake(x), manifest, Cell("fake", "toy", tasks["all"].protocol)).rows.set_index("image_id")
    study = "s004"  # a PA alone
    assert whole.loc[study, "score:a"] == pytest.approx(images.loc["i004PA", "score:a"])
    two = logit(images.loc[["i009PA", "i009L", "i009AP"], "score:a"].to_numpy())
    assert whole.loc["s009", "score:a"] == pytest.approx(expit(two.mean()))


def test_more_views_help_where_each_has_its_own_noise() -> None:
    from sklearn.metrics import roc_auc_score

    x, manifest = studies(900)
    value = {}
    for task in (classification.TASK, knn.TASK):
        for v in ("1", "all"):
            one = task.configured(TaskOptions(views=v))
            rows = one.run(fake(x), manifest, Cell("fake", "toy", one.protocol)).test_rows()
            value[one.protocol] = roc_auc_score(rows["target:a"], rows["score:a"])
    assert value["classification+viewsall"] > value["classification+views1"] + 0.02
    assert value["knn+viewsall"] > value["knn+views1"]


def test_what_cannot_be_fused_is_said() -> None:
    _, manifest = studies()
    images = manifest.images
    assert not_applicable(manifest, "all") is None
    assert not_applicable(replace(manifest, images=images.assign(study_id="")), None) is None
    assert "no study" in (not_applicable(replace(manifest, images=images.assign(study_id="")), "2") or "")
    straddling = images.assign(split=np.where(images["view"] == "L", "test", images["split"]))
    assert "two splits" in (not_applicable(replace(manifest, images=straddling), "2") or "")
    classes = images.assign(a=(images["view"] == "L") * 1.0, b=(images["view"] != "L") * 1.0)
    several = replace(manifest, images=classes, labels=("a", "b"), kind="multiclass", groups={})
    assert "different classes" in (not_applicable(several, "all") or "")
    wrong: Any = "3"
    with pytest.raises(UserError, match="--views '3'"):
        classification.TASK.configured(TaskOptions(views=wrong))


def test_one_of_two_and_both_of_two_are_the_same_studies_with_exactly_two_images() -> None:
    x, manifest = studies()
    sizes = Counter(manifest.images["study_id"])
    two = {study for study, size in sizes.items() if size == 2}
    taken = {v: rows_with_views(manifest, v).images.query("split != 'unused'") for v in ("1of2", "2of2")}
    assert set(taken["1of2"]["study_id"]) == set(taken["2of2"]["study_id"]) == two
    assert set(taken["2of2"].groupby("study_id").size()) == {2}
    assert set(taken["1of2"].groupby("study_id").size()) == {1}
    assert set(taken["1of2"]["view"]) == {"PA"}
    assert len({frozenset(views) for _, views in taken["2of2"].groupby("study_id")["view"]}) == 2, "PA and L, or AP"
    rows = {}
    for views in ("1of2", "2of2"):
        task = classification.TASK.configured(TaskOptions(views=views))
        assert task.protocol == f"classification+views{views}"
        seen = without_test_truth(manifest)
        found = task.run(fake(x), seen, Cell("e", "toy", task.protocol))
        rows[views] = found.test_rows()["image_id"].tolist()
    assert rows["1of2"] == rows["2of2"], "so the two pair"
    single = replace(manifest, images=manifest.images.query("view == 'PA'"))
    assert not_applicable(single, "2of2") == "its train and val and test split has no study of exactly two images"
