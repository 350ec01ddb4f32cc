"""A toy of segmentation and detection: an encoder of gray means, maps in memory, images with one rectangle."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn

from cxrbench.data.annotations.rle import encode_counts
from cxrbench.data.decode.preprocess import load_image
from cxrbench.data.manifest import Manifest
from cxrbench.encoder import EncoderCard, EncoderSpec, Features, Preprocess
from cxrbench.features.augmentation import SEED, augmentation
from cxrbench.features.extract import ExtractOptions
from cxrbench.progress import Progress
from cxrbench.task import RunContext
from cxrbench.tasks.dense.training import seeded

CPU = torch.device("cpu")
OPTIONS = ExtractOptions(CPU, "fp32", batch_size=16, workers=1)
SPEC = EncoderSpec("fake", EncoderCard("fake"), "w", "s", "p", 0)
SIZE, H, W = 32, 40, 30


class Tiles(nn.Module):
    """A CNN of a sort: gray means at strides 4, 8, 16, 32, or all at one stride like a ViT's."""

    preprocess = Preprocess(size=SIZE, resize="crop", mean=(0.0,), std=(1.0,), channels=1)

    def __init__(self, strides: tuple[int, ...] = (4, 8, 16, 32)) -> None:
        super().__init__()
        self.strides = strides
        with seeded(0, CPU):
            self.mix = nn.Conv2d(1, 2, 1)
        self.norm = nn.BatchNorm2d(2)

    def forward(self, images: torch.Tensor) -> Features:
        x = self.norm(self.mix(images))
        maps = tuple(nn.functional.avg_pool2d(x, stride) for stride in self.strides)
        return Features(maps[3].flatten(1), maps)


class FakeEncoder:
    """Maps of a Tiles encoder in memory. ``draws``: random numbers that it takes from torch, as loading weights may."""

    def __init__(self, module: nn.Module | None = None, draws: int = 0) -> None:
        self.module: Any = module or Tiles().eval()
        self.draws = draws
        self.spec = SPEC
        self.context = RunContext(OPTIONS, Path(), Progress())

    def maps(self, manifest: Manifest, copies: int = 0) -> Any:
        torch.rand(self.draws)
        preprocess = replace(self.module.preprocess, resize="pad")
        images = [load_image(path, preprocess) for path in manifest.paths()]
        with torch.inference_mode():
            made = [
                self.module(torch.stack([
                    augmentation(SEED, name, copy).apply_image(image, preprocess)
                    for name, image in zip(manifest.images["image_id"], images, strict=True)
                ])).maps
                for copy in range(copies + 1)
            ]  # fmt: skip
        return SimpleNamespace(
            widths=tuple(m.shape[1] for m in made[0]), sides=tuple(m.shape[-1] for m in made[0]), preprocess=preprocess,
            cached=True,
            batch=lambda rows, copy=0, levels=range(4): tuple(made[copy][i][rows].half() for i in levels),
        )  # fmt: skip


def dataset(
    root: Path, n: int = 60, *, table: Callable[[list[str], np.ndarray], dict[str, Any]] | None = None
) -> Manifest:
    """Images with a rectangle, gray or white, in two of three; the rectangle is the mask."""
    rng = np.random.default_rng(0)
    ids, masks = [f"{i:02d}" for i in range(n)], np.zeros((n, H, W), bool)
    for i, name in enumerate(ids):
        if i % 3:
            y, x = rng.integers(0, 20), rng.integers(0, 12)
            masks[i, y : y + 18, x : x + 14] = True
        image = np.clip(rng.normal(40, 8, (H, W)) + 80 * (i % 3) * masks[i], 0, 255).astype(np.uint8)
        Image.fromarray(image).save(root / f"{name}.png")
    counts = [(name, "Finding", H, W, encode_counts(m)) for name, m in zip(ids, masks, strict=True) if m.any()]
    tables: dict[str, Any] = table(ids, masks) if table else {
        "masks": pd.DataFrame(counts, columns=["image_id", "label", "height", "width", "counts"]),
        "masks_complete": True,
    }  # fmt: skip
    images = pd.DataFrame({
        "image_id": ids, "patient_id": ids, "study_id": ids, "view": "", "path": [f"{i}.png" for i in ids], "bytes": 1,
        "split": np.repeat(["train", "val", "test"], [n // 2, n // 4, n - n // 2 - n // 4]),
        "Finding": masks.any((1, 2)).astype(np.float32),
    })  # fmt: skip
    return Manifest("toy", root, images, ("Finding",), **tables)
