"""50 epochs of a decoder on cached maps against running the frozen encoder in every epoch; where the time goes.

    python benchmarks/decoders.py [--small]

200 films (RSNA's of ../shared/data if they are there, else the phantom's), ViT-B/16 at 224 px with random weights, the
training loop, loss, batches and decoders of ``cxrbench run --tasks rsna:segmentation``. Cached: everything from the
files on, with an empty cache: decode, encode, write, verify, 50 epochs. Every epoch: the films are decoded once and
kept in memory, and the encoder runs on every batch; a few epochs are measured and extrapolated. ``--small`` is a smoke
test: a ViT-Tiny, 24 films, 3 epochs, and no file is written.
"""

import contextlib
import sys
import tempfile
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
from report import write_report
from tabulate import tabulate
from torch import Tensor, nn
from torch.profiler import profile, record_function

from cxrbench.augmentation import SEED
from cxrbench.data.images import image_size
from cxrbench.data.manifest import Manifest
from cxrbench.data.masks import TrueMasks
from cxrbench.data.preprocess import load_image
from cxrbench.dense import DenseMaps, dense_preprocess
from cxrbench.dense_cache import dense_maps
from cxrbench.device import autocast, has_bf16, resolve_device
from cxrbench.encoder import Features
from cxrbench.encoder_loading import LoadedEncoder
from cxrbench.extract import ExtractOptions
from cxrbench.progress import Progress
from cxrbench.registry import load_dataset, load_encoder
from cxrbench.task import RunContext
from cxrbench.tasks.decoders import DecoderName, build_decoder, levels_read, logit_side
from cxrbench.tasks.dense_training import Recipe, fit, seeded
from cxrbench.tasks.losses import dice_bce
from cxrbench.tasks.mask_targets import MaskTargets

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"
SMALL = "--small" in sys.argv
MODEL, FILMS, EPOCHS, SLOW_EPOCHS = (
    ("vit_tiny_patch16_224", 24, 3, 1) if SMALL else ("vit_base_patch16_224", 200, 50, 2)
)
BATCH = 16
DECODERS: tuple[DecoderName, ...] = ("linear", "upernet")
CHEAPER = ("contiguous, fp32", "channels-last, fp32", "channels-last, bf16")

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
    """``losses``: of every step; ``seconds``: of the training loop."""

    losses: list[float]
    seconds: float


class EnoughError(Exception):
    """Ends a training loop whose schedule is longer than what is measured."""


class Counting(nn.Module):
    """The encoder, counting the films that it is shown (not the two black ones that ask for its shapes)."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module, self.preprocess, self.films = module, module.preprocess, 0

    def forward(self, images: Tensor) -> Features:
        self.films += len(images) if bool(images.any()) else 0
        return self.module(images)


def train(
    setting: Setting,
    name: DecoderName,
    shapes: DenseMaps,
    inputs: Inputs,
    epochs: int,
    *,
    precision: str | None = None,
    layout: torch.memory_format = torch.channels_last,
) -> Outcome:
    """Train a decoder on all films, as the segmentation task does; the schedule is always that of EPOCHS epochs."""
    context = setting.context
    if precision is not None:
        context = replace(context, options=replace(context.options, precision=precision))  # type: ignore[arg-type]
    device = context.options.device
    rows = np.arange(len(setting.manifest))
    pixel_loss, losses = dice_bce(), []
    with seeded(0, device):
        decoder = build_decoder(name, shapes.widths, shapes.sides, len(setting.targets.truth.labels),
                                shapes.preprocess.size).to(device, memory_format=layout)  # fmt: skip
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
            return value

        def draw(epoch: int) -> Rows:
            if epoch == epochs:
                raise EnoughError
            return np.random.default_rng(epoch).permutation(rows)

        recipe = Recipe(epochs=EPOCHS, min_steps=0, batch=BATCH, rate=2e-3, patience=EPOCHS)
        start = time.perf_counter()
        with contextlib.suppress(EnoughError):
            fit(decoder, draw, loss, lambda: 0.0, recipe, context, what=name)
        return Outcome(losses, time.perf_counter() - start)


def reader(maps: DenseMaps, name: DecoderName) -> Inputs:
    """The maps that a decoder reads."""
    return partial(maps.batch, levels=levels_read(name))


def cached(setting: Setting, name: DecoderName) -> tuple[Outcome, float, int, DenseMaps, Path]:
    """From the files on, with an empty cache: outcome, seconds until the maps are there, films encoded."""
    encoder = Counting(setting.loaded.module)
    cache = Path(tempfile.mkdtemp(dir=setting.context.scratch))
    start = time.perf_counter()
    maps = dense_maps(
        setting.loaded.spec, lambda: encoder, encoder.preprocess, setting.manifest, cache, setting.context.options,
        copies=0, limit_bytes=10**11, skip_bad=False, progress=Progress(),
    )  # fmt: skip
    seconds = time.perf_counter() - start
    return train(setting, name, maps, reader(maps, name), EPOCHS), seconds, encoder.films, maps, cache


def every_epoch(setting: Setting, name: DecoderName, shapes: DenseMaps) -> tuple[Outcome, float, int]:
    """The encoder on every batch, its maps not rounded: outcome of SLOW_EPOCHS, seconds of decoding, films encoded."""
    options = setting.context.options
    encoder = Counting(setting.loaded.module)
    encoder.to(options.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    start = time.perf_counter()
    films = torch.stack([load_image(path, shapes.preprocess) for path in setting.manifest.paths()])
    decoding = time.perf_counter() - start

    def inputs(rows: Rows) -> Sequence[Tensor]:
        with torch.no_grad(), autocast(options.device, options.precision):
            images = films[torch.from_numpy(rows)].to(options.device, memory_format=torch.channels_last)
            maps = encoder(images).maps
            return [maps[level] for level in levels_read(name)]

    return train(setting, name, shapes, inputs, SLOW_EPOCHS), decoding, encoder.films


def where_time_goes(setting: Setting, name: DecoderName, maps: DenseMaps) -> tuple[dict[str, float], str]:
    """Milliseconds of an epoch by part, and the operations with most time of their own, from torch's profiler."""
    with profile() as profiler:
        train(setting, name, maps, reader(maps, name), 1)
    events = profiler.key_averages()
    total = {event.key: event.cpu_time_total / 1000 for event in events}
    backward = sum(t for key, t in total.items() if key.startswith("autograd::engine::evaluate_function"))
    neck = total.get("forward, neck", 0.0)
    parts = {
        **{key: total[key] for key in ("read the maps", "to float32")},
        "forward: neck": neck,
        "forward: the rest": total["forward"] - neck,
        "targets and loss": total["targets"] + total["loss"],
        "backward": backward,
        "AdamW": sum(t for key, t in total.items() if key.startswith("Optimizer.step")),
    }
    operations = sorted(
        (event for event in events if "::" in event.key), key=lambda event: -event.self_cpu_time_total
    )  # fmt: skip
    every = sum(event.self_cpu_time_total for event in events)
    shares = [f"{event.key.split('::')[1]} {100 * event.self_cpu_time_total / every:.0f}%" for event in operations[:5]]
    return parts, ", ".join(shares)


def setting_of(scratch: Path) -> Setting:
    """Encoder, films and targets."""
    torch.manual_seed(0)
    weights = scratch / "vit.pt"
    torch.save(timm.create_model(MODEL, num_classes=0).state_dict(), weights)
    loaded = load_encoder(f"timm:{MODEL}@{weights}", synthetic=False)
    data = SHARED
    if not (SHARED / "rsna").is_dir():
        from cxrbench.data.phantom import write

        data = scratch / "phantom"
        write(data, images={"rsna": FILMS + 100})
    manifest = load_dataset("rsna", data, Path)
    manifest = replace(manifest, images=manifest.images.iloc[:FILMS])
    assert len(manifest) == FILMS
    preprocess = dense_preprocess(loaded.module.preprocess)
    ids = [str(name) for name in manifest.images["image_id"]]
    sizes = [image_size(path) for path in manifest.paths()]
    targets = MaskTargets(TrueMasks.of(manifest), ids, sizes, preprocess, logit_side(preprocess.size),
                          seed=SEED, keep=True)  # fmt: skip
    targets(np.arange(len(manifest)))
    device = resolve_device("auto")
    options = ExtractOptions(device, "bf16" if has_bf16(device) else "fp32", BATCH, torch.get_num_threads())
    return Setting(loaded, manifest, targets, RunContext(options, scratch, Progress()))


def warm_up(setting: Setting) -> None:
    """One batch, so that neither way pays for the first call."""
    options = setting.context.options
    size = setting.loaded.module.preprocess.size
    with torch.no_grad(), autocast(options.device, options.precision):
        setting.loaded.module(torch.rand(BATCH, 3, size, size, device=options.device))


def cheaper(setting: Setting, name: DecoderName, maps: DenseMaps) -> list[list[str]]:
    """Milliseconds of a step and the loss after 3 epochs, for each way of CHEAPER."""
    found = []
    for way in CHEAPER:
        layout = torch.channels_last if "channels-last" in way else torch.contiguous_format
        precision = way.split(", ")[1]
        if precision == "bf16" and not has_bf16(setting.context.options.device):
            continue
        outcome = train(setting, name, maps, reader(maps, name), 3, precision=precision, layout=layout)
        milliseconds = 1000 * outcome.seconds / len(outcome.losses)
        found.append([name, way, f"{milliseconds:.1f}", f"{outcome.losses[-1]:.4f}"])
    return found


def main() -> None:
    rows: list[list[str]] = []
    curves: list[str] = []
    parts: dict[str, dict[str, float]] = {}
    operations: list[str] = []
    steps: list[list[str]] = []
    size = 0
    with tempfile.TemporaryDirectory() as folder:
        setting = setting_of(Path(folder))
        for name in DECODERS:
            warm_up(setting)
            fast, encoding, once, maps, cache = cached(setting, name)
            slow, decoding, often = every_epoch(setting, name, maps)
            ours, theirs = encoding + fast.seconds, decoding + slow.seconds * EPOCHS / SLOW_EPOCHS
            rows += [
                [name, "cached", f"{ours:.1f}", f"{encoding:.1f}", f"{fast.seconds / EPOCHS:.2f}", f"{once}",
                 f"{theirs / ours:.1f} x"],
                [name, f"every epoch, from {SLOW_EPOCHS} of {EPOCHS}", f"{theirs:.1f}", f"{decoding:.1f}",
                 f"{slow.seconds / SLOW_EPOCHS:.2f}", f"{often * EPOCHS // SLOW_EPOCHS}", ""],
            ]  # fmt: skip
            difference = np.abs(np.array(fast.losses[: len(slow.losses)]) - slow.losses)
            curves.append(
                f"{name}: the losses of {len(slow.losses)} steps go from {slow.losses[0]:.4f} to {slow.losses[-1]:.4f}, "
                f"differ by {difference[0]:.1e} in the first step and by {difference.max():.1e} at most; the "
                f"last of {EPOCHS} epochs ends at {fast.losses[-1]:.4f}"
            )
            parts[name], most = where_time_goes(setting, name, maps)
            operations.append(f"{name}: {most}")
            steps += cheaper(setting, name, maps)
            size = sum(file.stat().st_size for file in cache.rglob("maps.f16"))
    table = [[part, *(f"{parts[name][part]:.0f}" for name in DECODERS)] for part in parts["linear"]]
    note = "\n\n".join([
        f"{len(setting.manifest)} films of {setting.manifest.name}, {MODEL}, encoder and decoder in "
        f"{setting.context.options.precision}, batches of {BATCH}, {size / 1e6:.0f} MB of maps.",
        "The cached maps are float16, the others are not rounded; weights, batches and schedule are the same:",
        "\n".join(f"- {curve}" for curve in curves),
        "An epoch on cached maps in milliseconds, by torch's profiler, which takes time itself:",
        tabulate(table, ["", *DECODERS], tablefmt="github", disable_numparse=True),
        f"Operations with most time of their own: {'; '.join(operations)}.",
        "A decoder's step in other layouts and precisions, three epochs (the frozen maps never want gradients):",
        tabulate(steps, ["decoder", "step", "ms", "last loss"], tablefmt="github", disable_numparse=True),
        "Target: linear at least 10 times faster end to end; UPerNet as measured.",
    ])  # fmt: skip
    headers = ["decoder", "maps", "total s", "before training s", "s/epoch", "films encoded", "faster"]
    if SMALL:
        print(tabulate(rows, headers, tablefmt="github", disable_numparse=True), note, sep="\n\n")
    else:
        write_report("decoders", f"{EPOCHS} epochs of a decoder on frozen maps", headers, rows, note)


if __name__ == "__main__":
    main()
