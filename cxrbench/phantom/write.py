"""The phantom: procedural chest X-rays on disk in the official layouts, for when there is no real data.

Everything follows from one seed: same seed, same bytes, whatever the number of workers.
"""

import json
import multiprocessing
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from cxrbench.cores import cores
from cxrbench.errors import UserError
from cxrbench.files.atomic import atomic_path, writing
from cxrbench.files.leases import Lease
from cxrbench.files.turns import check_still, turn
from cxrbench.memory import keep_freed
from cxrbench.phantom.cases import case
from cxrbench.phantom.layouts.registry import IMAGES, PARTS, WRITERS
from cxrbench.progress import Advance

VERSION = 5  # raise when any byte of the output changes
MARKER = "PHANTOM.json"
CHUNK = 8


def write(
    out: Path,
    *,
    seed: int = 0,
    images: Mapping[str, int] | None = None,
    workers: int | None = None,
    progress: Advance | None = None,
    drawn: Callable[[Path], None] = lambda folder: None,
    blank: bool = False,
) -> None:
    """Write the datasets of WRITERS below ``out``, each in its official layout.

    ``images``: how many of each of PARTS (default IMAGES; where a study has several images, studies are counted); a
    dataset with none is left out.
    ``workers``: processes (default: one per core). ``progress(done, total)`` counts images.
    ``drawn``: told of each dataset's folder that was written, when it is whole and while the next is drawn.
    A dataset is built in a hidden folder, its marker PHANTOM.json written last, and renamed when whole; what is already
    there with the same version, seed and counts is kept. A folder without the marker is never touched: UserError.
    ``blank``: nothing is drawn, see ``write_blank``.

    Raises UserError where the disk refuses, or a process that draws is killed; what was whole stays.
    """
    wanted = dict(IMAGES if images is None else images)
    for part, count in wanted.items():
        if part not in PARTS or count < 0:
            known = ", ".join(PARTS)
            raise UserError(f"there are no {count} phantom images of {part!r}: give 0 or more of any of {known}")
    try:
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
            with turn(out / ".phantom.lock", f"drawing the phantom in {out}") as lease:
                tell = progress or (lambda done, total: None)
                _write(out, seed, wanted, workers or cores(), tell, drawn, blank, lease)
    except BrokenProcessPool as error:
        raise UserError(
            f"a process that draws the phantom in {out} was killed (out of memory?); what is finished is kept: "
            "run the command again"
        ) from error


def ensure(
    cache: Path,
    datasets: Collection[str] | None = None,
    *,
    progress: Advance | None = None,
    drawn: Callable[[Path], None] = lambda folder: None,
) -> Path:
    """The data folder of the default phantom under the cache folder; what is not there whole is written first.

    ``datasets``: the names that are needed (default: all); names without a phantom are passed over. ``drawn``: see
    ``write``. Two processes at once: one writes, one waits.
    """
    folder = cache / f"phantom-v{VERSION}"
    wanted = set(WRITERS if datasets is None else datasets)
    write(folder, images={p: n for p, n in IMAGES.items() if _dataset(p) in wanted}, progress=progress, drawn=drawn)
    return folder


def is_drawn(cache: Path, datasets: Collection[str]) -> bool:
    """Whether ``ensure`` finds all of these datasets that have a phantom whole."""
    folder = cache / f"phantom-v{VERSION}"
    return all(_whole(folder / name, _marker(0, _parts(name), blank=False)) for name in WRITERS if name in datasets)


def folder_for_plan(cache: Path, dataset: str) -> Path:
    """A data folder with this dataset's phantom in it, for who looks at tables alone: nothing is drawn.

    It is the phantom's own where that is drawn already, else one of black images beside it, written in seconds.
    """
    if is_drawn(cache, [dataset]):
        return cache / f"phantom-v{VERSION}"
    blank = cache / f"phantom-v{VERSION}-blank"
    write_blank(blank, [dataset])
    return blank


def write_blank(out: Path, datasets: Collection[str], *, workers: int | None = None) -> None:
    """Write the default phantom's datasets of these names below ``out``, with black images: for a plan, in seconds.

    An adapter reads the manifest that it would read of the phantom itself: the same rows, splits, labels, boxes, masks,
    reports and signals; only the sizes of files differ. The marker says that it is blank, so that ``ensure`` never
    takes it for the phantom. ``out``: a temporary folder, or a folder of its own in the cache, where the next plan
    finds what is whole. Names without a phantom are passed over.
    """
    wanted = {part: count for part, count in IMAGES.items() if _dataset(part) in datasets}
    write(out, images=wanted, workers=workers, blank=True)


def is_blank(folder: Path) -> bool:
    """Whether a dataset's folder holds black images in place of its phantom."""
    try:
        return bool(json.loads((folder / MARKER).read_text(encoding="utf-8")).get("blank"))
    except (OSError, ValueError, AttributeError):
        return False


def _parts(dataset: str) -> list[tuple[str, int]]:
    """The parts of a dataset of the default phantom, with their numbers of images."""
    return [(part, count) for part, count in IMAGES.items() if _dataset(part) == dataset]


def _dataset(part: str) -> str:
    """The dataset that a part belongs to: ``vindr_train`` to ``vindr``."""
    return part.partition("_")[0]


def _write(
    out: Path,
    seed: int,
    wanted: dict[str, int],
    workers: int,
    progress: Advance,
    drawn: Callable[[Path], None],
    blank: bool,
    lease: Lease,
) -> None:
    """Write what is missing, under the lease."""
    todo: dict[str, list[tuple[str, int]]] = {}
    for name in WRITERS:
        parts: list[tuple[str, int]] = [(p, wanted[p]) for p in PARTS if _dataset(p) == name and wanted.get(p, 0) > 0]
        if parts and not _whole(out / name, _marker(seed, parts, blank)):
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
                for record in run(partial(_one, image, building, part, seed, blank), range(count)):
                    records.append(record)
                    progress(done := done + 1, total)
                    if done % CHUNK == 0:
                        check_still(lease)
                tables(building, part, records)
            with atomic_path(building / MARKER) as temporary:
                temporary.write_text(json.dumps(_marker(seed, parts, blank), indent=1) + "\n", encoding="utf-8")
            check_still(lease)
            _remove(final)
            os.replace(building, final)
            drawn(final)


def _marker(seed: int, parts: Iterable[tuple[str, int]], blank: bool) -> dict[str, Any]:
    marker = {"synthetic": True, "generator": "cxrbench phantom", "version": VERSION, "seed": seed}
    return marker | {"images": dict(parts)} | ({"blank": True} if blank else {})


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


def _one(image: Callable[..., Any], folder: Path, part: str, seed: int, blank: bool, number: int) -> Any:
    """Write one image; returns its rows of the tables."""
    return image(folder, replace(case(part, seed, number), blank=blank))


class _mapper:  # noqa: N801
    """``map`` over processes, or in this one for a single worker; ordered either way."""

    def __init__(self, workers: int) -> None:
        # Spawned, not forked: the caller may hold PyTorch's threads.
        self.pool = ProcessPoolExecutor(workers, Context(), initializer=_start) if workers > 1 else None

    def __enter__(self) -> Callable[..., Iterator[Any]]:
        return map if self.pool is None else partial(self.pool.map, chunksize=CHUNK)

    def __exit__(self, *error: object) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)


class _Process(SpawnProcess):
    """A process that does not import the main module of this one.

    It needs nothing of it, the command line takes as long to import as forty images to draw, and a user's script
    without ``if __name__ == "__main__"`` would call for the phantom again and wait for the lock for ever.
    """

    def start(self) -> None:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")  # has neither a file nor a name to be imported by
        try:
            super().start()
        finally:
            sys.modules["__main__"] = main


class Context(SpawnContext):
    """Starts such processes."""

    Process = _Process  # type: ignore[assignment]


def _start() -> None:
    """Make a process ready to draw.

    Ctrl-C is for the main process, which stops this one. When the main process is killed, so is this one, instead of
    waiting for it for ever. An image is made in dozens of large arrays.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if (parent := multiprocessing.parent_process()) is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
    keep_freed()
