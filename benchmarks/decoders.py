"""50 epochs of a decoder on cached maps against running the frozen encoder in every epoch; where the time goes.

    python benchmarks/decoders.py [--small]

200 images (RSNA's of ../shared/data if they are there, else the phantom's), ViT-B/16 at 224 px with random weights, the
training loop, loss, batches and decoders of ``cxrbench run --tasks rsna:segmentation``. Cached: everything from the
files on, with an empty cache: decode, encode, write, verify, 50 epochs. Every epoch: the images are decoded once and
kept in memory, and the encoder runs on every batch; a few epochs are measured and extrapolated. ``--small`` is a smoke
test: a ViT-Tiny, 24 images, 3 epochs, and no file is written.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from decoder_training import BATCH, Inputs, Outcome, Rows, Setting, reader, setting_of, train
from report import write_report
from tabulate import tabulate
from torch import Tensor, nn
from torch.profiler import profile

from cxrbench.data.decode.preprocess import load_image
from cxrbench.encoder import Features
from cxrbench.features.device import autocast, has_bf16, resolve_device
from cxrbench.features.maps.cache import dense_maps
from cxrbench.features.maps.dense import DenseMaps
from cxrbench.progress import Progress
from cxrbench.task import DecoderName
from cxrbench.tasks.dense.decoders.named import levels_read

SMALL = "--small" in sys.argv
MODEL, IMAGES, EPOCHS, SLOW_EPOCHS = (
    ("vit_tiny_patch16_224", 24, 3, 1) if SMALL else ("vit_base_patch16_224", 200, 50, 2)
)
DECODERS: tuple[DecoderName, ...] = ("linear", "upernet")
FP32 = "channels-last, fp32"
CHEAPER = ("contiguous, fp32", FP32, *(("channels-last, bf16",) if has_bf16(resolve_device("auto")) else ()))


class Counting(nn.Module):
    """The encoder, counting the images that it is shown (not the two black ones that ask for its shapes)."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module, self.preprocess, self.images = module, module.preprocess, 0

    def forward(self, images: Tensor) -> Features:
        self.images += len(images) if bool(images.any()) else 0
        return self.module(images)


def cached(setting: Setting, name: DecoderName) -> tuple[Outcome, float, int, DenseMaps, Path]:
    """From the files on, with an empty cache: outcome, seconds until the maps are there, images encoded."""
    encoder = Counting(setting.loaded.module)
    cache = Path(tempfile.mkdtemp(dir=setting.context.scratch))
    start = time.perf_counter()
    maps = dense_maps(
        setting.loaded.spec, lambda: encoder, encoder.preprocess, setting.manifest, cache, setting.context.options,
        copies=0, limit_bytes=10**11, skip_bad=False, progress=Progress(),
    )  # fmt: skip
    seconds = time.perf_counter() - start
    outcome = train(setting, name, maps, reader(maps, name), EPOCHS, schedule=EPOCHS)
    return outcome, seconds, encoder.images, maps, cache


def running(setting: Setting, name: DecoderName, shapes: DenseMaps) -> tuple[Inputs, float, Counting]:
    """Unrounded maps, from the encoder whenever asked for, of images decoded now; seconds of decoding; the encoder."""
    options = setting.context.options
    encoder = Counting(setting.loaded.module)
    encoder.to(options.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    start = time.perf_counter()
    decoded = torch.stack([load_image(path, shapes.preprocess) for path in setting.manifest.paths()])
    decoding = time.perf_counter() - start

    def inputs(rows: Rows) -> Sequence[Tensor]:
        with torch.no_grad(), autocast(options.device, options.precision):
            images = decoded[torch.from_numpy(rows)].to(options.device, memory_format=torch.channels_last)
            maps = encoder(images).maps
            return [maps[level] for level in levels_read(name)]

    return inputs, decoding, encoder


def in_memory(inputs: Inputs, images: int) -> Inputs:
    """The same maps, computed once and kept as they are."""
    batches = [inputs(rows) for rows in np.array_split(np.arange(images), -(-images // BATCH))]
    levels = [torch.cat(level) for level in zip(*batches, strict=True)]
    return lambda rows: [level[torch.from_numpy(rows)] for level in levels]


def where_time_goes(setting: Setting, name: DecoderName, maps: DenseMaps) -> tuple[dict[str, float], str]:
    """Milliseconds of an epoch by part, and the operations with most time of their own, from torch's profiler."""
    with profile() as profiler:
        train(setting, name, maps, reader(maps, name), 1, schedule=EPOCHS)
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


def warm_up(setting: Setting) -> None:
    """One batch, so that neither way pays for the first call."""
    options = setting.context.options
    size = setting.loaded.module.preprocess.size
    with torch.no_grad(), autocast(options.device, options.precision):
        setting.loaded.module(torch.rand(BATCH, 3, size, size, device=options.device))


def steps_in(setting: Setting, name: DecoderName, inputs: Inputs, shapes: DenseMaps, way: str) -> Outcome:
    """Three epochs in one of the ways of CHEAPER."""
    layout = torch.channels_last if "channels-last" in way else torch.contiguous_format
    return train(setting, name, shapes, inputs, 3, schedule=3, precision=way.split(", ")[1], layout=layout)


def compared(name: str, against: str, ours: Outcome, theirs: Outcome) -> list[str]:
    """How far two loss curves are apart: a row of the table."""
    steps = min(len(ours.losses), len(theirs.losses))
    difference = np.abs(np.array(ours.losses[:steps]) - theirs.losses[:steps])
    first, middle, largest = difference[0], np.median(difference), difference.max()
    return [name, against, f"{steps}", f"{first:.0e}", f"{middle:.0e}", f"{largest:.0e}",
            f"{ours.losses[steps - 1]:.4f}", f"{theirs.losses[steps - 1]:.4f}"]  # fmt: skip


def main() -> None:
    rows: list[list[str]] = []
    curves: list[list[str]] = []
    parts: dict[str, dict[str, float]] = {}
    operations: list[str] = []
    steps: list[list[str]] = []
    size = 0
    with tempfile.TemporaryDirectory() as folder:
        setting = setting_of(Path(folder), MODEL, IMAGES)
        for name in DECODERS:
            warm_up(setting)
            fast, encoding, once, maps, cache = cached(setting, name)
            inputs, decoding, encoder = running(setting, name, maps)
            slow = train(setting, name, maps, inputs, SLOW_EPOCHS, schedule=EPOCHS)
            often = encoder.images
            kept = in_memory(inputs, IMAGES)
            exact = train(setting, name, maps, kept, EPOCHS, schedule=EPOCHS)
            ours, theirs = encoding + fast.seconds, decoding + slow.seconds * EPOCHS / SLOW_EPOCHS
            rows += [
                [name, "cached", f"{ours:.1f}", f"{encoding:.1f}", f"{fast.seconds / EPOCHS:.2f}", f"{once}",
                 f"{theirs / ours:.1f} x"],
                [name, f"every epoch, from {SLOW_EPOCHS} of {EPOCHS}", f"{theirs:.1f}", f"{decoding:.1f}",
                 f"{slow.seconds / SLOW_EPOCHS:.2f}", f"{often * EPOCHS // SLOW_EPOCHS}", ""],
            ]  # fmt: skip
            ways = {way: steps_in(setting, name, reader(maps, name), maps, way) for way in CHEAPER}
            steps += [
                [name, way, f"{1000 * float(np.median(np.diff(found.times))):.1f}", f"{found.losses[-1]:.4f}"]
                for way, found in ways.items()
            ]
            wide = steps_in(setting, name, kept, maps, FP32)
            curves += [
                compared(name, "encoder in every epoch", fast, slow),
                compared(name, "unrounded maps in memory", fast, exact),
                compared(name, "unrounded maps in memory, all in fp32", ways[FP32], wide),
            ]
            parts[name], most = where_time_goes(setting, name, maps)
            operations.append(f"{name}: {most}")
            size = sum(file.stat().st_size for file in cache.rglob("maps.f16"))
    table = [[part, *(f"{parts[name][part]:.0f}" for name in DECODERS)] for part in parts["linear"]]
    note = "\n\n".join([
        f"{len(setting.manifest)} images of {setting.manifest.name}, {MODEL}, encoder and decoder in "
        f"{setting.context.options.precision}, batches of {BATCH}, {size / 1e6:.0f} MB of maps.",
        "Same result? Training losses on cached float16 maps against those on maps that are not rounded, with the same "
        "weights, batches and schedule:",
        tabulate(curves, ["decoder", "against", "steps", "first", "median", "largest difference", "last loss, cached",
                          "last loss, other"], tablefmt="github", disable_numparse=True),
        "An epoch on cached maps in milliseconds, by torch's profiler, which takes time itself:",
        tabulate(table, ["", *DECODERS], tablefmt="github", disable_numparse=True),
        f"Operations with most time of their own: {'; '.join(operations)}.",
        "A decoder's step in other layouts and precisions, three epochs (the frozen maps never want gradients):",
        tabulate(steps, ["decoder", "step", "ms", "last loss"], tablefmt="github", disable_numparse=True),
        "Target: linear at least 10 times faster end to end; UPerNet as measured.",
    ])  # fmt: skip
    headers = ["decoder", "maps", "total s", "before training s", "s/epoch", "images encoded", "faster"]
    if SMALL:
        print(tabulate(rows, headers, tablefmt="github", disable_numparse=True), note, sep="\n\n")
    else:
        write_report("decoders", f"{EPOCHS} epochs of a decoder on frozen maps", headers, rows, note)


if __name__ == "__main__":
    main()
