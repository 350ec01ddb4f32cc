"""Image to image retrieval against torchmetrics, written-out definitions, and its own rules."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torchmetrics.functional.retrieval import retrieval_precision, retrieval_reciprocal_rank

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import EncoderCard, EncoderSpec
from cxrbench.errors import NotApplicableError
from cxrbench.metrics.classification import Weights
from cxrbench.metrics.kinds import KINDS
from cxrbench.predictions import Predictions
from cxrbench.task import Cell, TaskOptions
from cxrbench.tasks.retrieval import ranking
from cxrbench.tasks.retrieval.image import TASK
from cxrbench.tasks.retrieval.ranking import first_ranks

SPEC = EncoderSpec("fake", EncoderCard("fake"), "w", "s", "p", 0)


def make(n: int = 90, seed: int = 0) -> tuple[np.ndarray, Manifest]:
    """Embeddings that know a little of three labels; 30 patients with three images each; two thirds are test images."""
    rng = np.random.default_rng(seed)
    y = (rng.random((n, 3)) < 0.3).astype(np.float32)
    x = (rng.normal(size=(n, 8)) + y @ rng.normal(size=(3, 8))).astype(np.float32)
    ids = [f"{i:03}" for i in range(n)]
    patients = [f"p{i // 3}" for i in range(n)]
    split = ["train" if i % 9 < 3 else "test" for i in range(n)]
    images = pd.DataFrame(
        {"image_id": ids, "patient_id": patients, "study_id": ids, "view": "", "split": split, "path": ids, "bytes": 1}
    ).assign(a=y[:, 0], b=y[:, 1], c=y[:, 2])
    return x, Manifest("toy", Path(), images, ("a", "b", "c"))


def run(x: np.ndarray, manifest: Manifest, fraction: float = 1.0) -> Predictions:
    fake: Any = SimpleNamespace(spec=SPEC, pooled=lambda manifest: x)
    return TASK.run(fake, manifest, Cell("fake", "toy", "retrieval", fraction))


def value(predictions: Predictions, metric: str) -> float:
    rows = predictions.test_rows()
    prepared = KINDS["retrieval"].measures[metric].prepare(rows, predictions.labels)
    return float(prepared["image"](Weights.of(np.ones((len(rows), 1), np.uint8)))[0])


def by_query(x: np.ndarray, manifest: Manifest) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """For each test image the similarities and the relevance of its gallery, the plain way.

    Similarities are 2 + cosine, for torchmetrics takes what is not above 0 for not retrieved.
    """
    test, y = manifest.rows_of("test"), manifest.targets()
    patients = manifest.images["patient_id"].to_numpy()
    found = []
    for i in test:
        gallery = [j for j in test if patients[j] != patients[i]]
        cosine = torch.nn.functional.cosine_similarity(torch.tensor(x[i]).double(), torch.tensor(x[gallery]).double())
        alike = [bool((y[i] * y[j]).sum() > 0 or not (y[i].any() or y[j].any())) for j in gallery]
        found.append((2 + cosine, torch.tensor(alike)))
    return found


def test_metrics_are_torchmetrics_over_every_query(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "CHUNK", 7)
    x, manifest = make()
    predictions = run(x, manifest)
    queries = by_query(x, manifest)
    assert value(predictions, "p@1") < 0.95
    for k in (1, 5, 10):
        expected = [float(retrieval_precision(s.float(), t, top_k=k)) for s, t in queries]
        np.testing.assert_allclose(value(predictions, f"p@{k}"), np.mean(expected), rtol=1e-6)
    expected_ranks = [1 / float(retrieval_reciprocal_rank(s.float(), t)) for s, t in queries]
    np.testing.assert_allclose(predictions.test_rows()["rank:image"], expected_ranks, rtol=1e-5)
    assert value(predictions, "median_rank") == pytest.approx(np.median(expected_ranks), rel=1e-5)


def test_map_at_r_is_the_mean_precision_at_the_hits_among_the_first_r() -> None:
    x, manifest = make()
    expected = []
    for similarity, relevant in by_query(x, manifest):
        wanted = int(relevant.sum())
        order = similarity.argsort(descending=True)
        steps = [
            float(retrieval_precision(similarity, relevant, top_k=i + 1)) if relevant[order[i]] else 0.0
            for i in range(wanted)
        ]
        expected.append(sum(steps) / wanted)
    assert value(run(x, manifest), "map@r") == pytest.approx(np.mean(expected), abs=1e-6)


def test_perfect_and_constant_embeddings() -> None:
    x, manifest = make()
    y = manifest.targets()
    one = replace(manifest, images=manifest.images.assign(b=0.0, c=0.0))
    perfect = run(np.stack([y[:, 0], 1 - y[:, 0]], 1), one)
    assert value(perfect, "map@r") == value(perfect, "p@10") == value(perfect, "median_rank") == 1
    blind = run(np.ones_like(x), manifest)
    rows = blind.test_rows()
    gallery = np.array([len(alike) for _, alike in by_query(x, manifest)])
    np.testing.assert_array_equal(rows["rank:image"], gallery - rows["target:image"] + 1)  # ties count against it
    assert value(blind, "p@1") == 0


def test_a_patients_other_images_are_not_in_the_gallery() -> None:
    _, manifest = make()
    same = np.repeat(np.eye(30, dtype=np.float32), 3, 0)  # one embedding per patient
    rows = run(same, manifest).test_rows()
    gallery = len(rows) - 2
    assert rows["target:image"].to_numpy().max() < gallery
    changed = run(same[:, ::-1], manifest).test_rows()
    pd.testing.assert_frame_equal(rows, changed)  # nothing but ties: each patient is equally far from all others


def test_an_image_with_unknown_findings_is_neither_query_nor_gallery() -> None:
    x, manifest = make()
    first = manifest.rows_of("test")[:2]
    images = manifest.images.copy()
    images.loc[first[0], ["a", "b", "c"]] = [0, np.nan, 0]
    images.loc[first[1], ["a", "b", "c"]] = [1, np.nan, 0]  # a finding is known, so it can be asked for
    rows = run(x, replace(manifest, images=images)).test_rows()
    assert rows.loc[0, "target:image"] == 0
    assert np.isnan(rows.loc[0, "value:p@1:image"])
    assert rows.loc[1, "target:image"] > 0
    dropped = manifest.without([str(manifest.images["image_id"][first[0]])])
    without = run(np.delete(x, first[0], 0), replace(dropped, images=images.drop(index=first[0]))).test_rows()
    pd.testing.assert_frame_equal(pd.DataFrame(rows[1:]).reset_index(drop=True), without)


def test_what_is_said_of_it() -> None:
    x, manifest = make()
    predictions = run(x, manifest)
    chance = np.mean([float(t.float().mean()) for _, t in by_query(x, manifest)])
    assert any(f"random order would have P@k {chance:.2f}" in note for note in predictions.notes)
    assert set(predictions.rows["split"]) == {"test"}
    assert not TASK.seeds_matter(0.1)
    assert TASK.configured(TaskOptions(decoder="unet")) == TASK
    with pytest.raises(NotApplicableError, match="trains on nothing"):
        run(x, manifest, fraction=0.1)
    assert TASK.not_applicable(replace(manifest, labels=(), groups={})) == "it has no labels"
    train = replace(manifest, images=manifest.images[manifest.images["split"] == "train"])
    assert "two patients" in (TASK.not_applicable(train) or "")


def test_predictions_survive_saving(tmp_path: Path) -> None:
    predictions = run(*make())
    predictions.save(tmp_path / "cell.parquet")
    pd.testing.assert_frame_equal(Predictions.load(tmp_path / "cell.parquet").rows, predictions.rows)


def test_rank_of_the_first_right_item_counts_ties_against_it() -> None:
    gallery = np.array([[1.0, 0], [1, 0], [0, 1], [0.6, 0.8]])
    queries = np.array([[1.0, 0], [0, 1], [0, 0], [1, 1]])
    ranks = first_ranks(queries, gallery, np.array([0, 3, 1, 9]), np.array([0, 1, 2, 3]))
    np.testing.assert_array_equal(ranks, [2, 2, 4, np.nan])
    np.testing.assert_array_equal(first_ranks(queries[:1], gallery, np.array([7]), np.array([7, 7, 0, 0])), [1])
