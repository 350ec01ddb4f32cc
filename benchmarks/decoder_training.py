"""What benchmarks/decoders.py trains: images, encoder, targets and the segmentation task's training loop."""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.profiler import record_function

from cxrbench.data.annotations.masks import TrueMasks
from cxrbench.data.decode.images import image_size
from cxrbench.data.manifest import Manifest
from cxrbench.engine.registry import load_dataset, load_encoder
from cxrbench.features.augmentation import SEED
from cxrbench.features.device import has_bf16, resolve_device
from cxrbench.features.extract import ExtractOptions
from cxrbench.features.maps.dense import DenseMaps, dense_preprocess
from cxrbench.plugins.loading import LoadedEncoder
from cxrbench.progress import Progress
from cxrbench.task import DecoderName, RunContext
from cxrbench.tasks.dense.decoders.decoder import quarter
from cxrbench.tasks.dense.decoders.named import build_decoder, levels_read
from cxrbench.tasks.dense.losses import dice_bce
from cxrbench.tasks.dense.mask_targets import MaskTargets
from cxrbench.tasks.dense.moves import our_draw
from cxrbench.tasks.dense.recipe import DenseRecipe
from cxrbench.tasks.dense.training import seeded, train_model

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"
BATCH = 16

Rows = NDArray[np.int64]
Inputs = Callable[[Rows], Sequence[Tensor]]


@dataclass(frozen=True)
class Setting:
    """What both ways of training share."""

    loaded: LoadedEncoder
    manifest: Manifest
    targets: MaskTargets
    context: RunContext


@dataclass(frozen=True)
class Outcome:
    """``losses``: of every step; ``times``: in seconds, when they were known; ``seconds``: of the training loop."""

    losses: list[float]
    times: list[float]
    seconds: float


def setting_of(scratch: Path, model: str, images: int) -> Setting:
    """Encoder, images and targets."""
    torch.manual_seed(0)
    weights = scratch / "vit.pt"
    torch.save(timm.create_model(model, num_classes=0).state_dict(), weights)
    loaded = load_encoder(f"timm:{model}@{weights}", synthetic=False)
    data = SHARED
    if not (SHARED / "rsna").is_dir():
        from cxrbench.phantom.write import write

        data = scratch / "phantom"
        write(data, images={"rsna": images + 100})
    manifest = load_dataset("rsna", data, Path)
    manifest = replace(manifest, images=manifest.images.iloc[:images])
    assert len(manifest) == images
    preprocess = dense_preprocess(loaded.module.preprocess)
    ids = [str(name) for name in manifest.images["image_id"]]
    sizes = [image_size(path) for path in manifest.paths()]
    targets = MaskTargets(TrueMasks.of(manifest), ids, sizes, preprocess, quarter(preprocess.size),
                          draw=our_draw(SEED), keep=True)  # fmt: skip
    targets(np.arange(len(manifest)))
    device = resolve_device("auto")
    options = ExtractOptions(device, "bf16" if has_bf16(device) else "fp32", BATCH, torch.get_num_threads())
    return Setting(loaded, manifest, targets, RunContext(options, scratch, Progress()))


def reader(maps: DenseMaps, name: DecoderName) -> Inputs:
    """The maps that a decoder reads."""
    return partial(maps.batch, levels=levels_read(name))


class EnoughError(Exception):
    """Ends a training loop whose schedule is longer than what is measured."""


def train(
    setting: Setting,
    name: DecoderName,
    shapes: DenseMaps,
    inputs: Inputs,
    epochs: int,
    *,
    schedule: int,
    precision: str | None = None,
    layout: torch.memory_format = torch.channels_last,
) -> Outcome:
    """Train a decoder on all images, as the segmentation task does, at the learning rates of ``schedule`` epochs."""
    context = setting.context
    if precision is not None:
        context = replace(context, options=replace(context.options, precision=precision))  # type: ignore[arg-type]
    device = context.options.device
    rows = np.arange(len(setting.manifest))
    pixel_loss, losses, times = dice_bce(), [], []
    with seeded(0, device):
        decoder: Any = build_decoder(name, shapes.widths, shapes.sides, len(setting.targets.truth.labels),
                                     shapes.preprocess.size)  # fmt: skip
        decoder = decoder.to(device, memory_format=layout)
        neck = getattr(decoder, "neck", None)
        if neck is not None:
            neck.forward = record_function("forward, neck")(neck.forward)

        def loss(examples: Rows) -> Tensor:
            with record_function("read the maps"):
                native = inputs(examples)
            with record_function("to float32"):
                native = [x.to(device, torch.float32, memory_format=layout) for x in native]
            with record_function("forward"):
                logits = decoder(native)
            with record_function("targets"):
                target = setting.targets(examples).to(device)
            with record_function("loss"):
                value = pixel_loss(logits, target)
            losses.append(value.item())
            times.append(time.perf_counter())
            return value

        def draw(epoch: int) -> Rows:
            if epoch == epochs:
                raise EnoughError
            return np.random.default_rng(epoch).permutation(rows)

        recipe = replace(DenseRecipe.ours(2e-3, epochs=schedule, min_steps=0), batch_size=BATCH, patience=schedule)
        start = time.perf_counter()
        with contextlib.suppress(EnoughError):
            train_model(decoder, draw, loss, lambda: {"val_loss": 0.0}, recipe, context, what=name)
        return Outcome(losses, times, time.perf_counter() - start)
