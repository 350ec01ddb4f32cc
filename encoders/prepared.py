"""Training images, decoded and resized once, then read from one memory-mapped file."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cxrbench.atomic import atomic_path
from cxrbench.data.manifest import Manifest
from cxrbench.data.preprocess import load_image
from cxrbench.encoder import Preprocess
from cxrbench.errors import BadImageError, UserError


@dataclass(frozen=True)
class Prepared:
    """uint8 images [n, 1, size, size] in ``path``. ``counts``: images per dataset; ``dropped``: unreadable files."""

    path: Path
    size: int
    counts: dict[str, int]
    dropped: tuple[str, ...]

    def __len__(self) -> int:
        return sum(self.counts.values())

    def open(self) -> NDArray[np.uint8]:
        """The images, memory-mapped: only what is read comes into memory."""
        return np.memmap(self.path, np.uint8, "r", shape=(len(self), 1, self.size, self.size))


def training_files(manifests: Sequence[Manifest], limit: int | None) -> list[tuple[str, Path, int]]:
    """Dataset, path and bytes of every training image; of ``limit`` of them, drawn evenly, if given.

    A patient who also has a validation or test image is left out, whatever the split column says.
    """
    files = []
    for manifest in manifests:
        held_out = manifest.images.loc[manifest.images["split"] != "train", "patient_id"]
        rows = manifest.images[(manifest.images["split"] == "train") & ~manifest.images["patient_id"].isin(held_out)]
        files += [(manifest.name, manifest.root / p, int(b)) for p, b in zip(rows["path"], rows["bytes"], strict=True)]
    if not files:
        raise UserError(f"no training images in {', '.join(m.name for m in manifests)}: check the split column")
    if limit is None or limit >= len(files):
        return files
    kept = np.random.default_rng(0).permutation(len(files))[:limit]
    return [files[i] for i in sorted(kept)]


def prepare_images(
    manifests: Sequence[Manifest],
    preprocess: Preprocess,
    cache: Path,
    *,
    workers: int = 0,
    limit: int | None = None,
    on_bad_image: Literal["error", "skip"] = "error",
) -> Prepared:
    """Decode and resize every training image into one file under ``cache``, or find it there.

    Eight bits are kept (what JPEG and PNG films have) and normalisation is left to training. An unreadable image is a
    BadImageError, or with ``skip`` is dropped and named in the result.
    """
    files = training_files(manifests, limit)
    gray = replace(preprocess, mean=(0.0,), std=(1.0,), channels=1)
    what = json.dumps([[(name, str(path), size) for name, path, size in files], repr(gray), on_bad_image])
    path = cache / f"{hashlib.sha256(what.encode()).hexdigest()[:24]}.u8"
    record = path.with_suffix(".json")
    if not (path.is_file() and record.is_file()):
        counts, dropped = _write(path, files, gray, workers, on_bad_image)
        with atomic_path(record) as temporary:
            temporary.write_text(json.dumps({"counts": counts, "dropped": dropped}))
    found = json.loads(record.read_text())
    prepared = Prepared(path, preprocess.size, found["counts"], tuple(found["dropped"]))
    if path.stat().st_size != len(prepared) * preprocess.size**2:
        raise UserError(f"{path} does not have the size that {record.name} implies: delete both and run again")
    return prepared


def _write(
    path: Path, files: list[tuple[str, Path, int]], gray: Preprocess, workers: int, on_bad_image: str
) -> tuple[dict[str, int], list[str]]:
    """Write the images in order; plain writes, because a full disk under a memory map kills the process."""
    counts = {name: 0 for name, _, _ in files}
    dropped: list[str] = []
    # Errors travel as values: an exception raised in a worker process loses its type on the way.
    loader: DataLoader[Tensor | tuple[str, str]] = DataLoader(_Files(files, gray), batch_size=None, num_workers=workers)
    console = Console(stderr=True)
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        shown = track(loader, "preparing images", len(files), console=console, disable=not console.is_terminal)
        for (name, _, _), image in zip(files, shown, strict=True):
            if isinstance(image, Tensor):
                handle.write(image.numpy().tobytes())
                counts[name] += 1
            elif on_bad_image == "error":
                raise BadImageError(*image)
            else:
                dropped.append(image[0])
    return counts, dropped


class _Files(Dataset[Tensor | tuple[str, str]]):
    """Item i: the image, uint8 [1, size, size], or (path, reason) if it cannot be read."""

    def __init__(self, files: list[tuple[str, Path, int]], gray: Preprocess) -> None:
        self.files, self.gray = files, gray

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> Tensor | tuple[str, str]:
        try:
            return (load_image(self.files[i][1], self.gray) * 255).round().to(torch.uint8)
        except BadImageError as error:
            return error.path, error.reason
