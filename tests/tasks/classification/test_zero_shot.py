"""Zero-shot classification: CheXzero's formula, prompts, and encoders that cannot be asked."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import EncoderCard, EncoderSpec
from cxrbench.errors import NotApplicableError, UserError
from cxrbench.predictions import Predictions
from cxrbench.task import Cell
from cxrbench.tasks.classification.prompts import of_class, pair
from cxrbench.tasks.classification.zero_shot import TASK
from cxrbench.tasks.retrieval import text_tower

SPEC = EncoderSpec("fake", EncoderCard("fake"), "w", "s", "p", 0)


class Tower(torch.nn.Module):
    """A random but fixed embedding for each sentence; remembers what it was asked."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.width, self.asked = width, []

    def encode_text(self, texts: list[str]) -> torch.Tensor:
        self.asked += texts
        seeds = [torch.Generator().manual_seed(sum(map(ord, text))) for text in texts]
        return torch.stack([5 * torch.randn(self.width, generator=seed) for seed in seeds])


def make(kind: Any = "multilabel") -> tuple[np.ndarray, Manifest]:
    """Twelve images of two labels, four in each split."""
    rng = np.random.default_rng(0)
    ids = [f"{i:02}" for i in range(12)]
    split = np.repeat(["train", "val", "test"], 4)
    images = pd.DataFrame(
        {"image_id": ids, "patient_id": ids, "study_id": ids, "view": "", "split": split, "path": ids, "bytes": 1}
    )
    positive = (rng.random(12) < 0.5).astype(np.float32)
    images = images.assign(**{"Nodule/Mass": positive, "No finding": 1 - positive})
    labels = ("Nodule/Mass", "No finding")
    return rng.normal(size=(12, 6)).astype(np.float32), Manifest("toy", Path(), images, labels, kind)


def run(x: np.ndarray, manifest: Manifest, module: object, fraction: float = 1.0) -> Predictions:
    context = SimpleNamespace(options=SimpleNamespace(device=torch.device("cpu")))
    fake: Any = SimpleNamespace(spec=SPEC, module=module, pooled=lambda manifest: x, context=context)
    return TASK.run(fake, manifest, Cell("fake", "toy", "zero-shot", fraction))


def unit(rows: torch.Tensor) -> np.ndarray:
    return torch.nn.functional.normalize(rows.double(), dim=1).numpy()


def test_scores_are_the_softmax_of_label_and_no_label() -> None:
    x, manifest = make()
    tower = Tower()
    predictions = run(x, manifest, tower)
    assert tower.asked == ["Nodule or Mass", "no Nodule or Mass", "normal chest X-ray", "abnormal chest X-ray"]
    assert predictions.rows["split"].tolist() == ["val"] * 4 + ["test"] * 4
    for label in manifest.labels:
        cosines = unit(torch.tensor(x[4:])) @ unit(Tower().encode_text(list(pair(label)))).T
        expected = np.exp(cosines[:, 0]) / np.exp(cosines).sum(1)
        np.testing.assert_allclose(predictions.rows[f"score:{label}"], expected, atol=1e-6)
    assert predictions.kind == "multilabel"


def test_classes_share_one_softmax() -> None:
    x, manifest = make("multiclass")
    tower = Tower()
    predictions = run(x, manifest, tower)
    assert tower.asked == ["a chest X-ray showing Nodule or Mass", "normal chest X-ray"]
    scores = predictions.scores(predictions.rows)
    np.testing.assert_allclose(scores.sum(1), 1)
    cosines = unit(torch.tensor(x[4:])) @ unit(Tower().encode_text([of_class(label) for label in manifest.labels])).T
    np.testing.assert_array_equal(scores.argmax(1), cosines.argmax(1))


def test_many_prompts_are_embedded_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    x, manifest = make()
    whole = run(x, manifest, Tower())
    monkeypatch.setattr(text_tower, "BATCH", 3)
    pd.testing.assert_frame_equal(run(x, manifest, Tower()).rows, whole.rows)


def test_what_cannot_be_asked_is_said() -> None:
    x, manifest = make()
    with pytest.raises(NotApplicableError, match="fake has no text tower"):
        run(x, manifest, torch.nn.Identity())
    with pytest.raises(NotApplicableError, match="trains on nothing"):
        run(x, manifest, Tower(), 0.1)
    with pytest.raises(UserError, match="pooled is 6 wide but encode_text 7"):
        run(x, manifest, Tower(7))
    broken = Tower()
    broken.encode_text = lambda texts: torch.full((len(texts), 6), torch.nan)  # type: ignore[method-assign]
    with pytest.raises(UserError, match="one vector per text"):
        run(x, manifest, broken)
    assert TASK.not_applicable(manifest) is None
    assert TASK.not_applicable(replace(manifest, labels=(), groups={})) == "it has no labels"
    assert not TASK.seeds_matter(0.1)


class Projecting(Tower):
    """Its texts lie where ``project`` takes the first six of its eight numbers, mirrored."""

    def project(self, pooled: torch.Tensor) -> torch.Tensor:
        return -pooled[:, :6]


def test_pooled_is_projected_to_the_space_of_texts() -> None:
    x, manifest = make()
    wide = np.concatenate([-x, np.full((12, 2), 100, np.float32)], axis=1)
    label = f"score:{manifest.labels[0]}"
    np.testing.assert_array_equal(run(wide, manifest, Projecting()).rows[label], run(x, manifest, Tower()).rows[label])
    wide[5, 0] = np.nan
    with pytest.raises(UserError, match="project gives"):
        run(wide, manifest, Projecting())
