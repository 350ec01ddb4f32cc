"""PaCX-MAE's stage 1c: embeddings of ECGs by a frozen network, ECGFounder or a small one trained here.

The small one, of the same architecture, learns by regression from four seconds of a recording to what a cardiologist
measures in all of it (``tasks.ecg_features``: rate, intervals, axes, amplitudes, power). That needs no labels and no
knowledge of images, and teaches a network within a minute what takes masked reconstruction or a contrast of crops far
more than a few hundred recordings. It is meant for phantom data; for patients, pass ECGFounder's weights.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import smooth_l1_loss
from torch.optim import AdamW

from cxrbench.encoders.ecg import features as ecg_features
from cxrbench.encoders.ecg.net1d import Net1D, Net1DConfig, load_net1d
from cxrbench.encoders.ecg.signal import read_inputs
from cxrbench.encoders.pretraining.schedule import learning_rate_factor
from cxrbench.features.array_cache import cached_array
from cxrbench.features.device import resolve_device
from cxrbench.files.checkpoints import made_once
from cxrbench.files.digests import file_sha256
from cxrbench.progress import tracked

VERSION = "1"  # raise when the same recordings give another teacher or other embeddings
SMALL = Net1DConfig((16, 32, 64, 128), (1, 1, 1, 1), 16)
SEED = 0
GROUPS = (3, 8, 72, 60)  # measurements of rhythm, of times and axes, of amplitudes, of power
LARGEST = 4.0  # standard deviations of a measurement; beats that were missed make the rest
CHUNK = 64  # recordings that are read and embedded at a time


@dataclass(frozen=True)
class TeacherRecipe:
    """How the small one is trained. ``crop``: samples that it sees of a recording."""

    steps: int = 400
    batch: int = 16
    crop: int = 2000
    lr: float = 2e-3
    weight_decay: float = 0.01
    warmup: int = 20


@dataclass(frozen=True)
class Taught:
    """``embeddings``: float32 [n, E] of n studies; ``teacher``: which network made them, in words and by its sha256."""

    embeddings: NDArray[np.float32]
    teacher: str


def ecg_embeddings(
    paths: Sequence[Path], weights: Path | None, cache: Path, recipe: TeacherRecipe | None = None, device: str = "auto"
) -> Taught:
    """Embeddings of recordings that ``read_ecg`` reads, by the network in ``weights``, else by one trained on them.

    Both are kept in ``cache``, under names that follow from the recordings' paths, sizes and dates, so that a resumed
    run is taught by the same. Raises UserError for weights that do not fit, and for recordings that cannot be read.
    """
    records = [[str(path), *ecg_stamp(path)] for path in paths]
    said, recipe = "given", recipe or TeacherRecipe()
    if weights is None:
        weights = cache / f"ecg-teacher-{digest([VERSION, records, asdict(SMALL), asdict(recipe)])}.safetensors"
        said = f"trained on {len(paths)} recordings of the data"
        made_once(weights, lambda: train_teacher(read_inputs(paths), recipe).state_dict())
    net, sha256 = load_net1d(weights), file_sha256(weights)
    kept = cache / f"ecg-embeddings-{digest([VERSION, records, sha256])}.npy"
    embeddings = cached_array(kept, lambda: embed(net, paths, device))
    return Taught(embeddings, f"Net1D, {net.width} features, {said}, sha256 {sha256[:16]}")


def train_teacher(inputs: NDArray[np.float32], recipe: TeacherRecipe | None = None, seed: int = SEED) -> Net1D:
    """A small Net1D that tells the measurements of recordings [n, 12, samples] of ``ecg_signal``, from ``seed`` alone.

    A measurement counts in units of its standard deviation among the recordings, each of GROUPS as much as the others;
    one that could not be made (fewer than three beats) does not count.
    """
    recipe, device = recipe or TeacherRecipe(), resolve_device("auto")
    targets = standardized(
        np.stack([ecg_features.features(each) for each in tracked(inputs, "measuring ECGs", len(inputs))])
    )
    share = np.repeat([1 / size for size in GROUPS], GROUPS)
    known = torch.from_numpy((np.isfinite(targets) * share).astype(np.float32)).to(device)
    wanted = torch.from_numpy(np.nan_to_num(targets)).to(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Net1D(SMALL).to(device)
        head = torch.nn.Linear(net.width, wanted.shape[1]).to(device)
    rng = np.random.default_rng(seed)
    crop = min(recipe.crop, inputs.shape[2])
    parameters = [*net.parameters(), *head.parameters()]
    optimizer = AdamW(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay)
    for step in tracked(range(recipe.steps), "training an ECG teacher", recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * learning_rate_factor(step, recipe.steps, recipe.warmup)
        rows = rng.choice(len(inputs), min(recipe.batch, len(inputs)), replace=False)
        starts = rng.integers(0, inputs.shape[2] - crop + 1, len(rows))
        crops = np.stack([inputs[row, :, start : start + crop] for row, start in zip(rows, starts, strict=True)])
        guess, told = head(net(torch.from_numpy(crops).to(device))), known[rows]
        error = smooth_l1_loss(guess, wanted[rows], reduction="none")
        loss = (error * told).sum() / told.sum().clamp(min=1e-6)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval().requires_grad_(False)


def standardized(measured: NDArray[np.floating]) -> NDArray[np.float32]:
    """Measurements [n, D] less their means, over their standard deviations, within 4; NaN stays NaN."""
    known = np.isfinite(measured)
    count = np.maximum(known.sum(0), 1)
    mean = np.where(known, measured, 0).sum(0) / count
    std = np.sqrt(np.where(known, (measured - mean) ** 2, 0).sum(0) / count)
    return np.clip((measured - mean) / np.maximum(std, 1e-6), -LARGEST, LARGEST).astype(np.float32)


def embed(net: Net1D, paths: Sequence[Path], device_name: str = "auto") -> NDArray[np.float32]:
    """Features [n, E] of whole recordings."""
    device = resolve_device(device_name)
    net = net.to(device)
    parts: list[Tensor] = []
    with torch.inference_mode():
        for first in range(0, len(paths), CHUNK):
            inputs = torch.from_numpy(read_inputs(paths[first : first + CHUNK]))
            parts += [net(part.to(device)).cpu() for part in inputs.split(8)]
    return torch.cat(parts).numpy()


def digest(facts: object) -> str:
    """A short name that follows from plain values."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]


def ecg_stamp(path: Path) -> tuple[int, int]:
    """Size and time of change of a recording's file, so that a replaced one is noticed; zeros where there is none."""
    file = path.with_name(path.name.partition("#")[0])
    facts = file.stat() if file.is_file() else None
    return (facts.st_size, facts.st_mtime_ns) if facts else (0, 0)
