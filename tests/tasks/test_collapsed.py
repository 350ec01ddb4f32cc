"""An encoder that says the same of every image is at chance in every protocol, and ends no run."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Features, Preprocess
from cxrbench.engine.registry import load_task
from cxrbench.engine.truth import without_test_truth
from cxrbench.features.extract import ExtractOptions
from cxrbench.metrics.kinds import KINDS, headline
from cxrbench.progress import Progress
from cxrbench.task import Cell, TaskOptions
from support.probe_data import SPEC, make

SIDE, WIDTH = 32, 4


class Collapsed(nn.Module):
    """Every number is ``value``, whatever the image or the text; yet there is something to train."""

    preprocess = Preprocess(size=SIDE, resize="squash", channels=1)

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, images: Tensor) -> Features:
        n = len(images)
        maps = tuple(self.value.expand(n, WIDTH, SIDE // stride, SIDE // stride) for stride in (4, 8, 16, 32))
        return Features(self.value.expand(n, WIDTH), maps)

    def encode_text(self, texts: list[str]) -> Tensor:
        return self.value.expand(len(texts), WIDTH)


class Frozen:
    """A FrozenEncoder of it."""

    spec = SPEC

    def __init__(self, value: float, folder: Path) -> None:
        self.module = Collapsed(value).eval().requires_grad_(False)
        options = ExtractOptions(torch.device("cpu"), "fp32", workers=1)
        self.context = SimpleNamespace(options=options, scratch=folder, progress=Progress())

    def pooled(self, manifest: Manifest) -> np.ndarray:
        return self.module(torch.zeros(len(manifest), 1, SIDE, SIDE)).pooled.numpy()

    def maps(self, manifest: Manifest, copies: int = 0) -> Any:
        del manifest, copies
        blank = self.module(torch.zeros(1, 1, SIDE, SIDE)).maps

        def batch(rows: Any, copy: int = 0, levels: Any = range(4)) -> tuple[Tensor, ...]:
            del copy
            return tuple(blank[level].expand(len(rows), -1, -1, -1) for level in levels)

        return SimpleNamespace(
            widths=(WIDTH,) * 4, sides=(8, 4, 2, 1), preprocess=self.module.preprocess, cached=True, batch=batch
        )


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Forty images of noise with all that a protocol may ask for; a box where label ``a`` is positive."""
    folder, rng = tmp_path_factory.mktemp("noise"), np.random.default_rng(0)
    _, plain = make(40)
    images = plain.images.assign(path=plain.images["image_id"] + ".png")
    for path in images["path"]:
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE), np.uint8)).save(folder / path)
    ids = images["image_id"]
    shown = ids[images["a"] == 1]
    boxes = pd.DataFrame({"image_id": shown, "label": "a", "x": 4.0, "y": 4.0, "width": 12.0, "height": 9.0})
    reports = pd.DataFrame({"study_id": ids, "findings": "Number " + ids, "impression": ""})
    signals = pd.DataFrame({"study_id": ids, "lab:sodium": rng.random(40), "lab:troponin": rng.random(40)})
    return replace(plain, root=folder, images=images, boxes=boxes, reports=reports, signals=signals)


CLASSIFIERS = ("classification", "knn", "linear", "finetune", "zero-shot")
OTHERS = ("retrieval", "text-retrieval", "physiology", "segmentation", "detection")


def value(protocol: str, manifest: Manifest, level: float, *, finetune: bool = False) -> float:
    task = load_task(protocol).configured(TaskOptions(finetune=finetune, epochs=1))
    assert task.not_applicable(manifest) is None
    seen = manifest if task.sees_test_truth else without_test_truth(manifest)
    encoder: Any = Frozen(level, manifest.root)
    predictions = task.run(encoder, seen, Cell("fake", "toy", task.protocol))
    return headline(KINDS[predictions.kind].score(predictions, manifest))[1]


@pytest.mark.parametrize("level", [1.0, 0.0])
@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
@pytest.mark.parametrize("protocol", CLASSIFIERS)
def test_a_collapsed_embedding_has_an_auroc_of_one_half(
    protocol: str, kind: Any, level: float, manifest: Manifest
) -> None:
    if kind == "multiclass":
        manifest = replace(manifest, kind=kind, images=manifest.images.assign(b=1 - manifest.images["a"]))
    assert value(protocol, manifest, level) == 0.5


@pytest.mark.parametrize("protocol", OTHERS)
def test_a_collapsed_encoder_ends_no_run(protocol: str, manifest: Manifest) -> None:
    assert abs(value(protocol, manifest, 1.0)) <= 1  # and not NaN


@pytest.mark.parametrize("protocol", ["segmentation", "detection"])
def test_a_collapsed_encoder_is_fine_tuned(protocol: str, manifest: Manifest) -> None:
    assert abs(value(protocol, manifest, 0.0, finetune=True)) <= 1
