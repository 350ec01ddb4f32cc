"""An epoch for each label: its logits are those of a run that stops there, and it is the best on validation."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from cxrbench.data.manifest import Manifest
from cxrbench.errors import NotApplicableError
from cxrbench.features.extract import ExtractOptions
from cxrbench.progress import Progress
from cxrbench.task import Cell
from cxrbench.tasks.classification.problem import posed
from cxrbench.tasks.classification.recipe import ClassifierRecipe
from cxrbench.tasks.classification.training.head_on_features import train_head
from support.probe_data import SPEC, make

EPOCHS = 12
RECIPE = ClassifierRecipe(
    learning_rates=(0.02,), batch_size=32, schedule="constant", epochs=EPOCHS, select="per-label"
)  # a constant rate, so that a run of e epochs is the beginning of a longer one


def fake(x: np.ndarray) -> Any:
    options = ExtractOptions(torch.device("cpu"), "fp32")
    return SimpleNamespace(
        spec=SPEC,
        pooled=lambda manifest: x,
        context=SimpleNamespace(options=options, scratch=Path(), progress=Progress()),
    )


def noisy() -> tuple[np.ndarray, Manifest]:
    """Labels that are best at different times: of one the training labels are half wrong."""
    x, manifest = make(300, 12)
    rng = np.random.default_rng(3)
    flipped = np.abs(manifest.images["b"] - (rng.random(300) < 0.4)).astype(np.float32)
    train = (manifest.images["split"] == "train").to_numpy()
    return x, replace(manifest, images=manifest.images.assign(b=np.where(train, flipped, manifest.images["b"])))


def test_each_label_has_the_logits_of_its_own_best_epoch() -> None:
    x, manifest = noisy()
    problem, _ = posed(manifest, RECIPE, Cell("e", "toy", "linear"))
    found = train_head(fake(x), manifest, problem)
    logits_at = []
    for epochs in range(1, EPOCHS + 1):
        short = replace(problem, recipe=replace(RECIPE, epochs=epochs, select="last"))
        logits_at.append(train_head(fake(x), manifest, short).logits)
    val = manifest.targets()[problem.val]
    epochs = found.facts["label_epochs"]
    assert len(set(epochs)) > 1, "else one epoch would do"
    for label, epoch in enumerate(epochs):
        aurocs = [roc_auc_score(val[:, label], logits[: len(val), label]) for logits in logits_at]
        assert epoch == 1 + int(np.argmax(aurocs))
        np.testing.assert_allclose(found.logits[:, label], logits_at[epoch - 1][:, label], rtol=0, atol=1e-6)
        assert found.facts["label_scores"][label] == pytest.approx(max(aurocs))


def test_classes_that_exclude_each_other_have_one_epoch() -> None:
    _, manifest = make(60, 4)
    one_of = (manifest.images["a"] == 1).to_numpy()
    exclusive = manifest.images.assign(a=one_of.astype(np.float32), b=(~one_of).astype(np.float32))
    with pytest.raises(NotApplicableError, match="exclude each other"):
        posed(replace(manifest, images=exclusive, kind="multiclass"), RECIPE, Cell("e", "toy", "linear"))
