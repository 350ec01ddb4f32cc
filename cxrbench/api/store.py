"""Saved files: whether they are as they were written, and where a finished cell and its images are."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrbench.errors import UserError
from cxrbench.files.folders import cache_folder
from cxrbench.progress import Bar, unseen

if TYPE_CHECKING:
    from cxrbench.data.manifest import Manifest
    from cxrbench.engine.verify import Verdict
    from cxrbench.features.cleaning import Cached, Cleaned
    from cxrbench.predictions import Predictions


def verify(results: Path | str = "results", *, cache: Path | None = None, bar: Bar = unseen) -> "list[Verdict]":
    """Every file of a results folder and of the cache, checked against its checksum. Changes nothing.

    Each has a ``condition`` (whole, damaged, unfinished, left over, foreign), its ``reason``, and what comes ``next``.
    Raises UserError where a folder that is named is not there.
    """
    from cxrbench.engine.verify import examined, items

    root, folder = Path(results), cache_folder(cache)
    if not root.is_dir():
        raise UserError(f"no results folder {root}: give --results DIR")
    if cache is not None and not folder.is_dir():
        raise UserError(f"no cache folder {folder}: give --cache DIR")
    todo = items(root, folder if folder.is_dir() else None)
    verdicts = []
    with bar("files") as advance:
        for done, item in enumerate(todo):
            advance(done, len(todo))
            verdicts.append(examined(item))
    return verdicts


def cached(cache: Path | str | None = None) -> "list[Cached]":
    """What is in the cache folder, what was used longest ago first. Raises UserError where there is none."""
    from cxrbench.features.cleaning import cached as look

    return look(_cache(cache))


def clean_cache(
    cache: Path | str | None = None,
    *,
    older: str | None = None,
    limit: int | str | None = None,
    dry_run: bool = False,
) -> "Cleaned":
    """Delete what was not used for ``older`` (``30d``, ``12h``, ``4w``), then the oldest until ``limit`` is kept.

    Never what somebody makes, or has used within the last hour. All of it is made again when it is asked for.
    ``dry_run``: says what would go. Raises UserError.
    """
    from cxrbench.engine.settings import parse_bytes
    from cxrbench.features.cleaning import clean

    if older is None and limit is None:
        raise UserError("nothing to clean by: give --older 30d, --limit 100GB, or both")
    size = parse_bytes(limit, "--limit") if isinstance(limit, str) else limit
    return clean(_cache(cache), older=None if older is None else _age(older), limit=size, dry_run=dry_run)


def _cache(cache: Path | str | None) -> Path:
    folder = cache_folder(cache)
    if not folder.is_dir():
        raise UserError(f"no cache folder {folder}: give --cache DIR")
    return folder


def _age(text: str) -> float:
    """``30d`` as seconds. Raises UserError."""
    seconds = {"h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([hdw])\s*", text)
    if match is None:
        raise UserError(f"--older {text!r}: give a number of hours, days or weeks, e.g. 12h, 30d or 4w")
    return float(match[1]) * seconds[match[2]]


def requests(results: Path | str = "results") -> list[dict[str, Any]]:
    """What was asked of the runs of a results folder, the first one first.

    Each has ``sha256`` (of what was asked, whatever the machine and its folders), ``date``, ``version``, ``encoders``,
    ``tasks``, ``settings``, and ``toml``, a run file that asks the same. Raises UserError.
    """
    from cxrbench.engine.asked.requests import load_requests

    if not Path(results).is_dir():
        raise UserError(f"no results folder {results}: give --results DIR")
    return load_requests(Path(results))


def find_cell(cell: str, *, encoder: str = "", results: Path | str = "results") -> "Predictions":
    """The predictions of a finished cell: of several fractions and seeds the largest and the first.

    ``cell``: ``DATASET:PROTOCOL`` as in a run (and its ``encoder``), or the path of the cell's .parquet file. Raises
    UserError.
    """
    from cxrbench.engine.registry import saved_task
    from cxrbench.engine.results import Results
    from cxrbench.predictions import Predictions

    if cell.endswith(".parquet"):
        if not Path(cell).is_file():
            raise UserError(f"no file {cell} (looked from {Path.cwd()})")
        return Predictions.load(Path(cell))
    dataset, colon, protocol = saved_task(cell).rpartition(":")
    if not colon:
        raise UserError(f"{cell!r} names no protocol: give DATASET:PROTOCOL, e.g. {cell}:segmentation")
    if not encoder:
        raise UserError(f"which encoder's {cell}? Add --encoder NAME")
    folder = Results(Path(results)).folder(dataset, protocol, encoder)
    found = sorted(folder.glob("fraction-*-seed-*.parquet"), key=_largest_first)
    if not found:
        raise UserError(f"no finished cell of {encoder} on {cell} in {results}: run `cxrbench run` first")
    return Predictions.load(found[0])


def find_manifest(predictions: "Predictions", *, cell: str, results: Path | str = "results") -> "Manifest":
    """The dataset that ``find_cell(cell, ...)`` was computed on, with its images where they were then.

    It is kept in the cell's own results folder. Raises UserError if it, or the folder of the images, is gone.
    """
    from cxrbench.data.manifest import Manifest
    from cxrbench.engine.results import Results

    above = Path(cell).resolve().parents if cell.endswith(".parquet") else ()
    root = above[4] if len(above) > 4 else Path(results)
    name, fingerprint = predictions.cell["dataset"], predictions.cell["parts"].get("dataset", "")
    path = Results(root).manifest_path(name, fingerprint)
    if not path.is_file():
        raise UserError(f"{path} is not there: it says where the images are; run the cell again in this folder")
    manifest = Manifest.load(path)
    if not manifest.root.is_dir():
        raise UserError(f"the images of {name} are not in {manifest.root} any more: put them back, or run again")
    return manifest


def _largest_first(path: Path) -> tuple[float, int]:
    """Sorting key of ``fraction-F-seed-S``: largest fraction, then first seed."""
    fraction, _, seed = path.stem.removeprefix("fraction-").rpartition("-seed-")
    return -float(fraction), int(seed)
