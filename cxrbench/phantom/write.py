"""The phantom: procedural chest X-rays on disk in the official layouts, for when there is no real data.

Everything follows from one seed: same seed, same bytes, whatever the number of workers.
"""

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock

from cxrbench.errors import UserError
from cxrbench.files.atomic import atomic_path, writing
from cxrbench.phantom.cases import PARTS, Part, case
from cxrbench.phantom.layouts import brax, chexpert, chexpert_plus, lungs, padchest, studies
from cxrbench.phantom.layouts import challenges as layouts

VERSION = 5  # raise when any byte of the output changes
MARKER = "PHANTOM.json"
IMAGES: Mapping[str, int] = {"vindr_train": 1100, "vindr_test": 600, "rsna": 1400, "siim": 1400,
                             "mimic": 360, "symile": 360, "lungs": 200, "chexpert": 200, "chexpert-plus": 200,
                             "padchest": 200, "brax": 160}  # fmt: skip
CHUNK = 8
WRITERS: Mapping[str, tuple[Callable[..., Any], Callable[..., None]]] = {
    "vindr": (layouts.vindr_image, layouts.vindr_tables),
    "rsna": (layouts.rsna_image, layouts.rsna_tables),
    "siim": (layouts.siim_image, layouts.siim_tables),
    "mimic": (studies.mimic_image, studies.mimic_tables),
    "symile": (studies.symile_image, studies.symile_tables),
    "lungs": (lungs.lungs_image, lungs.lungs_tables),
    "chexpert": (chexpert.chexpert_image, chexpert.chexpert_tables),
    "chexpert-plus": (chexpert_plus.chexpert_plus_image, chexpert_plus.chexpert_plus_tables),
    "padchest": (padchest.padchest_image, padchest.padchest_tables),
    "brax": (brax.brax_image, brax.brax_tables),
}
Progress = Callable[[int, int], None]


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def write(
    out: Path,
    *,
    seed: int = 0,
    images: Mapping[str, int] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Write the datasets of WRITERS below ``out``, each in its official layout.

    ``images``: how many of each of PARTS (default IMAGES; where a study has several images, studies are counted); a
    dataset with none is left out.
    ``workers``: processes (default: one per core). ``progress(done, total)`` counts images.
    A dataset is built in a hidden folder, its marker PHANTOM.json written last, and renamed when whole; what is already
    there with the same version, seed and counts is kept. A folder without the marker is never touched: UserError.
    """
    wanted = dict(IMAGES if images is None else images)
    if unknown := set(wanted) - set(PARTS):
        raise ValueError(f"unknown parts {sorted(unknown)}; known: {PARTS}")
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        with FileLock(out / ".phantom.lock"):
            _write(out, seed, wanted, workers or cores(), progress or (lambda done, total: None))


def ensure(cache: Path, datasets: Collection[str] | None = None, *, progress: Progress | None = None) -> Path:
    """The data folder of the default phantom under the cache folder; what is not there whole is written first.

    ``datasets``: the names that are needed (default: all); names without a phantom are passed over. Two processes at
    once: one writes, one waits.
    """
    folder = cache / f"phantom-v{VERSION}"
    wanted = set(WRITERS if datasets is None else datasets)
    write(folder, images={p: n for p, n in IMAGES.items() if _dataset(p) in wanted}, progress=progress)
    return folder


def _dataset(part: str) -> str:
    """The dataset that a part belongs to: ``vindr_train`` to ``vindr``."""
    return part.partition("_")[0]


def _write(out: Path, seed: int, wanted: dict[str, int], workers: int, progress: Progress) -> None:
    """Write what is missing, under the lock."""
    todo: dict[str, list[tuple[Part, int]]] = {}
    for name in WRITERS:
        parts: list[tuple[Part, int]] = [(p, wanted[p]) for p in PARTS if _dataset(p) == name and wanted.get(p, 0) > 0]
        if parts and not _whole(out / name, _marker(seed, parts)):
            todo[name] = parts
    total, done = sum(n for parts in todo.values() for _, n in parts), 0
    if not total:
        return
    with _mapper(min(workers, total // CHUNK)) as run:
        for name, parts in todo.items():
            final, building = out / name, out / f".{name}.partial"
            _remove(building)
            building.mkdir()
            image, tables = WRITERS[name]
            for part, count in parts:
                records = []
                for record in run(partial(_one, image, building, part, seed), range(count)):
                    records.append(record)
                    progress(done := done + 1, total)
                tables(building, part, records)
            with atomic_path(building / MARKER) as temporary:
                temporary.write_text(json.dumps(_marker(seed, parts), indent=1) + "\n", encoding="utf-8")
            _remove(final)
            os.replace(building, final)


def _marker(seed: int, parts: Iterable[tuple[str, int]]) -> dict[str, Any]:
    return {"synthetic": True, "generator": "cxrbench phantom", "version": VERSION, "seed": seed, "images": dict(parts)}


def _whole(folder: Path, marker: dict[str, Any]) -> bool:
    """Whether the folder already holds this phantom; UserError when it holds something that is not a phantom."""
    if not folder.exists():
        return False
    if not (folder / MARKER).is_file():
        raise UserError(f"{folder} holds something else (no {MARKER} in it); choose another folder for the phantom")
    try:
        return json.loads((folder / MARKER).read_text(encoding="utf-8")) == marker
    except ValueError:
        return False


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _one(image: Callable[..., Any], folder: Path, part: Part, seed: int, number: int) -> Any:
    """Write one image; returns its rows of the tables."""
    return image(folder, case(part, seed, number))


class _mapper:  # noqa: N801
    """``map`` over processes, or in this one for a single worker; ordered either way."""

    def __init__(self, workers: int) -> None:
        # Spawned, not forked: the caller may hold PyTorch's threads.
        self.pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) if workers > 1 else None

    def __enter__(self) -> Callable[..., Iterator[Any]]:
        return map if self.pool is None else partial(self.pool.map, chunksize=CHUNK)

    def __exit__(self, *error: object) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)
