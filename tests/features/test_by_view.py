"""An encoder that asks for views is told each image's own, wherever it is run, and its features are kept by them."""

import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import EncoderRequest, Features, Preprocess, view_codes
from cxrbench.engine.truth import without_test_truth
from cxrbench.errors import NotApplicableError, UserError
from cxrbench.features.extract import ExtractOptions, codes_of
from cxrbench.features.maps.cache import dense_key, dense_maps
from cxrbench.features.pooled import feature_key, pooled_features
from cxrbench.plugins.loading import identified
from cxrbench.progress import Progress
from cxrbench.task import Cell
from cxrbench.tasks.classification import finetune, linear_sgd
from cxrbench.tasks.dense.model import EncoderAndDecoder

OPTIONS = ExtractOptions(torch.device("cpu"), "fp32", batch_size=16, workers=2)
VIEWS = ("PA", "AP", "L", "")


class ByView(nn.Module):
    """The image's mean, and a row of a table by its view; four maps of the same."""

    preprocess = Preprocess(size=8, resize="squash", mean=(0.0,), std=(1.0,), channels=1)
    thread_safe = True

    def __init__(self, aware: bool = True) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.tensor([[0.0], [0.0], [5.0], [9.0]]))
        self.view_codes = {view: code for code, view in enumerate(VIEWS)} if aware else None

    def forward(self, images: Tensor, views: Tensor | None = None) -> Features:
        codes = torch.zeros(len(images), dtype=torch.int64) if views is None else views
        pooled = torch.cat([images.mean((1, 2, 3))[:, None], self.table[codes]], dim=1)
        return Features(pooled, tuple(pooled[:, :, None, None].expand(-1, -1, side, side) for side in (8, 4, 2, 1)))


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """60 noisy images of all views; the finding is on those that are not frontal, and nowhere else."""
    rng = np.random.default_rng(0)
    views = [VIEWS[i % 4] for i in range(60)]
    for i in range(60):
        Image.fromarray(rng.integers(0, 255, (8, 8), np.uint8)).save(tmp_path / f"{i:02}.png")
    ids = [f"{i:02}" for i in range(60)]
    frame = pd.DataFrame({
        "image_id": ids, "patient_id": ids, "study_id": ids, "view": views, "path": [f"{i}.png" for i in ids],
        "bytes": 1, "split": np.repeat(["train", "val", "test"], 20),
        "side": [float(view in ("L", "")) for view in views],
    })  # fmt: skip
    return Manifest("toy", tmp_path, frame, ("side",))


def loaded(module: nn.Module) -> Any:
    return identified("by-view", EncoderRequest("by-view", None, None), module, ByView)


def rows(encoder: Any, manifest: Manifest, cache: Path) -> Any:
    return pooled_features(
        encoder.spec, lambda: encoder.module, encoder.module.preprocess, manifest, cache, OPTIONS
    )  # fmt: skip


@pytest.mark.parametrize("threads", [1, 2])
def test_each_image_is_embedded_by_its_own_view_in_every_lane(manifest: Manifest, tmp_path: Path, threads: int) -> None:
    encoder, before = loaded(ByView()), torch.get_num_threads()
    assert encoder.spec.by_view
    torch.set_num_threads(threads)
    try:
        found = rows(encoder, manifest, tmp_path / "cache").pooled
    finally:
        torch.set_num_threads(before)
    expected = [float(encoder.module.table[VIEWS.index(view), 0]) for view in manifest.images["view"]]
    np.testing.assert_array_equal(found[:, 1], expected)
    alike = rows(loaded(ByView(aware=False)), manifest, tmp_path / "cache").pooled
    np.testing.assert_array_equal(alike[:, 1], 0.0)
    np.testing.assert_array_equal(alike[:, 0], found[:, 0])


def test_a_corrected_view_makes_its_features_anew_and_nobody_elses(manifest: Manifest, tmp_path: Path) -> None:
    encoder, other = loaded(ByView()), loaded(ByView(aware=False))
    for each in (encoder, other):
        assert not rows(each, manifest, tmp_path / "cache").from_cache
        assert rows(each, manifest, tmp_path / "cache").from_cache
    views = ["L", *manifest.images["view"][1:]]
    corrected = replace(manifest, images=manifest.images.assign(view=views))
    assert corrected.image_set == manifest.image_set
    found = rows(encoder, corrected, tmp_path / "cache")
    assert not found.from_cache
    assert found.pooled[0, 1] == 5.0
    assert rows(other, corrected, tmp_path / "cache").from_cache
    for spec, same in ((encoder.spec, False), (other.spec, True)):
        assert (feature_key(spec, manifest, "fp32") == feature_key(spec, corrected, "fp32")) == same
        of = [dense_key(spec, one, ByView.preprocess, "fp32", 0) for one in (manifest, corrected)]
        assert (of[0] == of[1]) == same


@pytest.mark.parametrize("limit", [0, 10**9])
def test_maps_and_their_copies_are_by_view_cached_or_not(manifest: Manifest, tmp_path: Path, limit: int) -> None:
    encoder = loaded(ByView())
    maps = dense_maps(
        encoder.spec, lambda: encoder.module, ByView.preprocess, manifest, tmp_path / "cache", OPTIONS, copies=1,
        limit_bytes=limit, skip_bad=False, progress=Progress(),
    )  # fmt: skip
    for copy_number in (0, 1):
        at = np.array([2, 3, 5, 6])
        found = maps.batch(at, copy_number)[0][:, 1, 0, 0]
        assert found.tolist() == [5.0, 9.0, 0.0, 5.0]


class Frozen:
    """A FrozenEncoder of the module."""

    def __init__(self, module: ByView, scratch: Path) -> None:
        self.module, self.spec = module.eval().requires_grad_(False), loaded(copy.deepcopy(module)).spec
        self.context = SimpleNamespace(options=OPTIONS, scratch=scratch, progress=Progress())


@pytest.mark.parametrize("aware", [True, False])
@pytest.mark.parametrize(("task", "changes"), [
    (finetune.TASK, {"learning_rates": (0.05,), "warmup_epochs": 0}),
    (linear_sgd.TASK, {"learning_rates": (0.1,), "augmentation": ({"jitter": [0.1, 0.1], "p": 1.0},)}),
])  # fmt: skip
def test_what_is_trained_on_images_is_told_their_views(
    manifest: Manifest, tmp_path: Path, task: Any, changes: dict[str, Any], aware: bool
) -> None:
    recipe = replace(task.recipe, epochs=30, batch_size=10, drop_path=0.0, **changes)
    encoder: Any = Frozen(ByView(aware), tmp_path)
    found = replace(task, recipe=recipe).run(encoder, without_test_truth(manifest), Cell("e", "toy", task.name))
    truth = manifest.images.set_index("image_id")["side"]
    test = found.rows[found.rows["split"] == "test"]
    auroc = roc_auc_score(truth[test["image_id"]], test["score:side"])
    assert (auroc == 1.0) == aware, "the view is all that there is to be seen"


def test_what_cannot_tell_views_says_so() -> None:
    with pytest.raises(NotApplicableError, match="mvmae:F@WEIGHTS"):
        EncoderAndDecoder.of(ByView(), ByView.preprocess, lambda widths, sides: nn.Identity())  # type: ignore[arg-type]
    module = ByView()
    module.view_codes = {"PA": 0, "L": 1}
    with pytest.raises(UserError, match="none for the view AP"):
        view_codes(module)
    assert codes_of(ByView(), None) is None
    assert codes_of(ByView(), ["L", "oblique"]).tolist() == [2, 3]  # type: ignore[union-attr]
