"""A pretraining method of one linear map, and the images that it is trained on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Preprocess
from cxrbench.encoders.families.untrained import Pixels
from cxrbench.encoders.pretraining.engine.pretrain import PretrainConfig
from cxrbench.encoders.pretraining.method import Batch, Blueprint, Draw, Loss, Method, Objective
from cxrbench.encoders.pretraining.recipe import PretrainingRecipe
from cxrbench.files.checkpoints import read_checkpoint

CONFIG = PretrainConfig(arch="nano-32", epochs=2, batch_size=4, precision="32", accelerator="cpu", checkpoint_every=1)


@dataclass(frozen=True)
class ToyOptions:
    variant: str = "fixed"


class Toy(Objective):
    """A linear map with dropout, and a record of what the engine did with it."""

    preprocess = Preprocess(8, "squash", (0.0,), (1.0,), channels=1)

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.dropout = nn.Linear(64, 4), nn.Dropout(0.5)
        self.average: Tensor
        self.register_buffer("average", torch.zeros(4, 64))
        self.done: Tensor
        self.register_buffer("done", torch.zeros(0))

    def forward(self, batch: Batch, draw: Draw) -> Loss:
        value = self.dropout(self.linear(batch.images.flatten(1))).square().mean()
        return Loss(value, {"progress": torch.tensor(draw.progress)})

    def after_step(self, progress: float) -> None:
        self.average.mul_(0.5).add_(self.linear.weight.detach(), alpha=0.5)

    def kept(self) -> nn.Module:
        return self.linear

    def architecture(self) -> dict[str, Any]:
        return {"width": 4}

    def picture(self, batch: Batch, draw: Draw) -> Tensor:
        return batch.images[0, 0]


def toy_method(recipe: PretrainingRecipe | None = None) -> Method:
    def configure(arch: str, options: Mapping[str, Any]) -> Blueprint:
        return Blueprint(Toy.preprocess, ToyOptions(), lambda corpus: Toy())

    recipes = {"fixed": recipe or PretrainingRecipe()}
    return Method("toy", configure, {}, lambda arch, seed: Pixels(), pictures=True, recipes=recipes)


def make_manifest(root: Path) -> Manifest:
    root.mkdir(exist_ok=True)
    rng, rows = np.random.default_rng(0), []
    for k in range(16):
        Image.fromarray(rng.integers(0, 256, (40, 50), np.uint8)).save(root / f"{k:02}.png")
        size = (root / f"{k:02}.png").stat().st_size
        rows.append((f"i{k:02}", f"p{k:02}", f"s{k:02}", "PA", "train" if k < 12 else "test", f"{k:02}.png", size, 0.0))
    columns = ["image_id", "patient_id", "study_id", "view", "split", "path", "bytes", "Nodule"]
    return Manifest("toy", root, pd.DataFrame(rows, columns=columns), ("Nodule",))


def weights(out: Path) -> dict[str, Tensor]:
    return read_checkpoint(out / "last.ckpt")["state_dict"]
