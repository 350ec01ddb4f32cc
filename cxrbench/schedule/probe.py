"""A short measurement of an encoder on a few images of a data set, through the real extraction."""

import math
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from cxrbench.data.decode.preprocess import load_image
from cxrbench.encoder import Encoder, Preprocess
from cxrbench.errors import NotApplicableError, UserError
from cxrbench.features.extract import ExtractOptions, extract
from cxrbench.features.maps.cache import map_layout
from cxrbench.features.maps.dense import dense_preprocess

SECONDS = 3.0
CPU_BATCH, DECODED = 16, 8
RESET, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


@dataclass(frozen=True)
class Probed:
    """``decoding``: seconds in which an image of the data set is read and prepared, on all threads together.

    ``width``: of pooled features. ``map_bytes``: of an image's dense maps, 0 for an encoder without. ``memory``: the
    most that the process took, in bytes; ``gpu_memory``: of the device's.
    """

    images_per_second: float
    decoding: float
    width: int
    map_bytes: int
    memory: int
    gpu_memory: int


def probe(
    load: Callable[[], Encoder], preprocess: Preprocess, paths: Sequence[Path], options: ExtractOptions, *, maps: bool
) -> Probed:
    """Extract a few images for some seconds, after a batch that is not counted.

    ``maps``: ask for the size of dense maps, too. Raises UserError for what would end an extraction.
    """
    cuda = options.device.type == "cuda"
    if not cuda:  # an encoder works in parts of 8 images there, and a batch of 64 may take half a minute
        options = replace(options, batch_size=min(options.batch_size, CPU_BATCH))
    forget_peak()
    module = load()
    if cuda:
        torch.cuda.reset_peak_memory_stats(options.device)
    some = [paths[int(k)] for k in np.linspace(0, len(paths) - 1, options.batch_size)]
    width, count, since = 0, 0, math.nan
    for batch in extract(lambda: module, preprocess, some * 50, 0, options):
        if batch.bad:
            raise batch.bad[0]
        width = batch.values.shape[1]
        if math.isnan(since):
            since = time.perf_counter()
            continue
        count += len(batch.values)
        if time.perf_counter() - since > SECONDS:
            break
    speed = count / (time.perf_counter() - since)
    return Probed(
        speed, decoding(preprocess, paths, options), width, _map_bytes(module, preprocess, options) if maps else 0,
        peak(), torch.cuda.max_memory_allocated(options.device) if cuda else 0,
    )  # fmt: skip


def decoding(preprocess: Preprocess, paths: Sequence[Path], options: ExtractOptions) -> float:
    """Seconds per image to read and prepare a few of them, on as many threads as are used for it. Raises UserError."""
    some = [paths[int(k)] for k in np.linspace(0, len(paths) - 1, DECODED)]
    load_image(some[0], preprocess, max_pixels=options.max_pixels)  # the first one imports its reader
    since = time.perf_counter()
    for path in some:
        load_image(path, preprocess, max_pixels=options.max_pixels)
    return (time.perf_counter() - since) / len(some) / max(1, options.workers)


def elsewhere(probed: Probed, there: float, *, device: str) -> float:
    """Images per second on another data set, an image of which is decoded in ``there`` seconds.

    On a CPU decoding and encoder take turns; for an accelerator they go on at once, and the slower one counts.
    """
    here = 1 / probed.images_per_second
    return 1 / (max(here, there) if device != "cpu" else max(here - probed.decoding + there, there))


def forget_peak() -> None:
    """Begin to measure the peak of this process's memory anew, where the system can (Linux)."""
    try:
        RESET.write_text("5")
    except OSError:
        return


def peak() -> int:
    """The most memory that this process took since ``forget_peak``, in bytes; elsewhere since it began."""
    try:
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return 1024 * int(line.split()[1])


def _map_bytes(module: Encoder, preprocess: Preprocess, options: ExtractOptions) -> int:
    try:
        return map_layout("it", module, dense_preprocess(preprocess), options).bytes
    except (NotApplicableError, UserError):
        return 0
